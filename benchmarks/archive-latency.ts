/**
 * Claim: tasks take as long while `archivePlugin` archives without a pause as without it: one after
 * the other (latency), and as many as there are cores (where the archiver gets what is left over).
 *
 * `npm run node -- benchmarks/archive-latency.ts [ROUNDS]`
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';

import { archivePlugin, Client } from '@farm/client';
import { LocalCluster } from '@farm/cluster';

import { machineLine, median } from './machine.ts';

const rounds = Number(process.argv[2] ?? 5);
const LATENCY_TASKS = 1_000;
/** Random bytes, which take gzip the longest. */
const FILE_BYTES = 50_000_000;
const FILES = 4;

interface Figures {
  /** Median of a single task, from submit to result. */
  readonly latencyMs: number;
  /** Four tasks of about 100 ms for each core. */
  readonly busyMs: number;
}

const directory = mkdtempSync(join(tmpdir(), 'farm-archive-'));
const source = join(directory, 'source');
mkdirSync(source);
for (let file = 0; file < FILES; file++) {
  writeFileSync(join(source, String(file)), randomBytes(FILE_BYTES));
}
const cores = availableParallelism();
await using cluster = await LocalCluster.start({
  workers: 1,
  threadsPerWorker: cores,
  dashboardAddress: null,
});
await using client = new Client(cluster);
const archive = archivePlugin({ from: source, to: join(directory, '{worker}.tar.gz'), everyMs: 1 });

const spin = (turns: number): number => {
  let sum = 0;
  for (let turn = 0; turn < turns; turn++) sum += Math.sqrt(turn);
  return sum;
};

async function measure(): Promise<Figures> {
  const latencies: number[] = [];
  for (let task = 0; task < LATENCY_TASKS; task++) {
    const startedMs = performance.now();
    await client.submit((x: number) => x, task).result();
    latencies.push(performance.now() - startedMs);
  }
  const startedMs = performance.now();
  await client.gather(
    client.map(
      spin,
      Array.from({ length: 4 * cores }, () => 100_000_000),
    ),
  );
  return { latencyMs: median(latencies), busyMs: performance.now() - startedMs };
}

console.log(machineLine());
await measure();
const latencyRatios: number[] = [];
const busyRatios: number[] = [];
for (let round = 1; round <= rounds; round++) {
  const before = await measure();
  await client.registerPlugin(archive);
  const during = await measure();
  await client.unregisterPlugin('archive');
  latencyRatios.push(during.latencyMs / before.latencyMs);
  busyRatios.push(during.busyMs / before.busyMs);
  console.log(`round ${round}: without ${show(before)}; archiving ${show(during)}`);
}
console.log(
  `median of ${rounds}, archiving / without: latency ${median(latencyRatios).toFixed(2)}, ` +
    `busy ${median(busyRatios).toFixed(2)}`,
);
rmSync(directory, { recursive: true, force: true });

function show({ latencyMs, busyMs }: Figures): string {
  return `latency ${latencyMs.toFixed(2)} ms, ${4 * cores} busy tasks ${Math.round(busyMs)} ms`;
}

/**
 * How many commands a second: `true`, on a worker of two slots, beside `xargs -P2 -n1 true` in the
 * same run, in turn; and what a command costs in a map ten times as long. Of each, the time that
 * passes and the CPU time of everything that takes part: client, scheduler, worker, what it starts
 * commands with, and the commands; or xargs and its commands. Ratios are xargs / farm, so that more
 * than 1 means that farm is faster.
 *
 * `npm run node -- benchmarks/commands.ts [TASKS] [ROUNDS]`
 */
import { spawnSync } from 'node:child_process';

import { Client, command } from '@farm/client';
import { LocalCluster } from '@farm/cluster';

import { machineLine, median } from './machine.ts';
import { treeCpuMs } from './tree-cpu.ts';

/** What one command took, in milliseconds. */
interface Cost {
  readonly wallMs: number;
  readonly cpuMs: number;
}

const tasks = Number(process.argv[2] ?? 5_000);
const rounds = Number(process.argv[3] ?? 5);
console.log(machineLine());

await using cluster = await LocalCluster.start({
  workers: 1,
  threadsPerWorker: 2,
  nanny: false,
  dashboardAddress: null,
});
await using client = new Client(cluster);
const noop = command('true', []);
await runFarm(1_000);

const farm: Cost[] = [];
const xargs: Cost[] = [];
for (let round = 1; round <= rounds; round++) await compare(`round ${round}`, tasks, farm, xargs);
print(`${tasks} commands, medians`, middle(farm), middle(xargs), {
  wallMs: median(farm.map(({ wallMs }, index) => (xargs[index]?.wallMs ?? NaN) / wallMs)),
  cpuMs: median(farm.map(({ cpuMs }, index) => (xargs[index]?.cpuMs ?? NaN) / cpuMs)),
});

const farmLong: Cost[] = [];
const xargsLong: Cost[] = [];
await compare(`${10 * tasks} commands`, 10 * tasks, farmLong, xargsLong);
const [ofFarm, ofXargs] = [times(farmLong, farm), times(xargsLong, xargs)];
console.log(
  `a command among ${10 * tasks} as against ${tasks}: farm ${text(ofFarm.wallMs)} times the wall, ` +
    `${text(ofFarm.cpuMs)} times the CPU; xargs ${text(ofXargs.wallMs)}, ${text(ofXargs.cpuMs)}`,
);

async function compare(title: string, count: number, ours: Cost[], theirs: Cost[]): Promise<void> {
  const our = await cost(count, () => runFarm(count));
  const their = await cost(count, () => runXargs(count));
  ours.push(our);
  theirs.push(their);
  print(title, our, their, times([their], [our]));
}

async function cost(count: number, work: () => Promise<void> | void): Promise<Cost> {
  const cpuMs = treeCpuMs();
  const startMs = performance.now();
  await work();
  const wallMs = performance.now() - startMs;
  return { wallMs: wallMs / count, cpuMs: (treeCpuMs() - cpuMs) / count };
}

async function runFarm(count: number): Promise<void> {
  const results = await client.gather(client.map(noop, inputs(count)));
  if (results.some((result) => result.exitCode !== 0)) throw new Error('a command failed');
}

function runXargs(count: number): void {
  const { status } = spawnSync('xargs', ['-P2', '-n1', 'true'], {
    input: inputs(count).join('\n'),
  });
  if (status !== 0) throw new Error(`xargs ended with ${status}`);
}

function inputs(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

function middle(costs: readonly Cost[]): Cost {
  return {
    wallMs: median(costs.map(({ wallMs }) => wallMs)),
    cpuMs: median(costs.map(({ cpuMs }) => cpuMs)),
  };
}

function times(costs: readonly Cost[], others: readonly Cost[]): Cost {
  const [one, other] = [middle(costs), middle(others)];
  return { wallMs: one.wallMs / other.wallMs, cpuMs: one.cpuMs / other.cpuMs };
}

function print(title: string, our: Cost, their: Cost, ratio: Cost): void {
  const rate = ({ wallMs, cpuMs }: Cost): string =>
    `${Math.round(1000 / wallMs)}/s, ${cpuMs.toFixed(3)} ms CPU each`;
  console.log(
    `${title}: farm ${rate(our)}; xargs ${rate(their)}; ` +
      `xargs / farm: wall ${text(ratio.wallMs)}, CPU ${text(ratio.cpuMs)}`,
  );
}

function text(ratio: number): string {
  return ratio.toFixed(2);
}

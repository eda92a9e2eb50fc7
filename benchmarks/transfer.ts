/**
 * Claim: a Float64Array of 256 MiB moves from worker to worker at least 0.7 times as fast as a raw
 * TCP copy of the same bytes between two Node processes, and the resident memory of neither worker
 * exceeds 2.2 times the array. The array is made by `resultArray`: any other is copied when its task
 * returns it, and there twice for a moment.
 *
 * One task makes the array on one worker, another takes it on the other worker. What the second
 * one takes from `submit` to its result, less what a task without input takes, is the time of the
 * transfer. The raw copy runs in the same run, in turn. With `FARM_BENCH_PYTHON` naming a Python
 * that has dask.distributed: Dask, two one-thread worker processes.
 *
 * `npm run node -- benchmarks/transfer.ts [MIB] [ROUNDS]`
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Client } from '@farm/client';
import { LocalCluster } from '@farm/cluster';
import { taskContext } from '@farm/worker/task';

import { machineLine, median } from './machine.ts';

const sizeBytes = Number(process.argv[2] ?? 256) * 2 ** 20;
const rounds = Number(process.argv[3] ?? 5);
const count = sizeBytes / 8;

await using cluster = await LocalCluster.start({
  workers: 2,
  threadsPerWorker: 1,
  nanny: false,
  dashboardAddress: null,
});
await using client = new Client(cluster);
const taker = client.with({ workers: 'local-1' });
const pids = await Promise.all(
  ['local-0', 'local-1'].map(async (worker) => {
    return client
      .with({ workers: worker })
      .submit(() => process.pid)
      .result();
  }),
);
const idleBytes = pids.map((pid) => peakBytes(pid));
const tcpServer = spawn(process.execPath, [peerPath('tcp-copy.mjs'), 'serve', String(sizeBytes)], {
  stdio: ['pipe', 'pipe', 'inherit'],
});
const told: readonly unknown[] = await once(createInterface(tcpServer.stdout), 'line');
const tcpPort = String(told[0]);

console.log(machineLine());
const dask = startDask();
const farmTimes: number[] = [];
const daskTimes: number[] = [];
const tcpTimes: number[] = [];
for (let round = 0; round <= rounds; round++) {
  const farmMs = await transfer();
  const tcpMs = rawCopy();
  const daskMs = await dask?.transfer();
  const isWarmUp = round === 0;
  if (!isWarmUp) {
    farmTimes.push(farmMs);
    tcpTimes.push(tcpMs);
    if (daskMs !== undefined) daskTimes.push(daskMs);
  }
  const name = isWarmUp ? 'warm-up' : `round ${round}`;
  const ratio = (tcpMs / farmMs).toFixed(2);
  const beside = daskMs === undefined ? '' : `, Dask ${show(daskMs)}`;
  console.log(
    `${name}: farm ${show(farmMs)}, raw TCP ${show(tcpMs)}, speed ratio ${ratio}${beside}`,
  );
}
tcpServer.stdin.end();
dask?.end();
const ratios = farmTimes.map((figure, index) => (tcpTimes[index] ?? NaN) / figure);
console.log(
  `median of ${rounds}: farm ${show(median(farmTimes))}, raw TCP ${show(median(tcpTimes))}, ` +
    `farm's speed / raw TCP's ${median(ratios).toFixed(2)}`,
);
for (const [index, pid] of pids.entries()) {
  const peak = peakBytes(pid);
  console.log(
    `worker that ${index === 0 ? 'makes' : 'takes'} it: at most ${mebibytes(peak)} resident, ` +
      `${(peak / sizeBytes).toFixed(2)} times the array (${mebibytes(idleBytes[index] ?? NaN)} idle)`,
  );
}

if (dask !== undefined) {
  const faster = farmTimes.map((figure, index) => (daskTimes[index] ?? NaN) / figure);
  const ratio = median(faster).toFixed(1);
  console.log(`Dask ${show(median(daskTimes))}, farm's speed / Dask's ${ratio}`);
}

/** Dask, where there is one: transfers an array whenever it is asked to. */
function startDask():
  | { readonly transfer: () => Promise<number>; readonly end: () => void }
  | undefined {
  const python = process.env['FARM_BENCH_PYTHON'];
  if (python === undefined) return undefined;
  const { stdin, stdout } = spawn(python, [peerPath('dask-transfer.py'), String(sizeBytes)], {
    stdio: ['pipe', 'pipe', 'ignore'],
  });
  const lines = createInterface(stdout)[Symbol.asyncIterator]();
  return {
    transfer: async () => {
      stdin.write('\n');
      const { value } = await lines.next();
      return Number(value);
    },
    end: () => stdin.end(),
  };
}

async function transfer(): Promise<number> {
  const made = client.with({ workers: 'local-0' }).submit((length: number) => {
    const values = taskContext().resultArray(Float64Array, length);
    for (let index = 0; index < length; index++) values[index] = index;
    return values;
  }, count);
  if ((await made.exception()) !== undefined) throw new Error('the array could not be made');
  const takeIt = async (values: typeof made | null): Promise<number> => {
    const startMs = performance.now();
    const taken = taker.submit((given: Float64Array | null) => given?.at(-1) ?? -1, values);
    const last = await taken.result();
    const tookMs = performance.now() - startMs;
    taken.release();
    if (last !== (values === null ? -1 : count - 1)) throw new Error(`the result is ${last}`);
    return tookMs;
  };
  const aloneMs = await takeIt(null);
  const withInputMs = await takeIt(made);
  made.release();
  return withInputMs - aloneMs;
}

function rawCopy(): number {
  const args = [peerPath('tcp-copy.mjs'), 'receive', tcpPort, String(sizeBytes), '1'];
  return Number(execFileSync(process.execPath, args, { encoding: 'utf8' }).trim());
}

/** The most memory a process ever had resident. */
function peakBytes(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
}

function peerPath(name: string): string {
  return fileURLToPath(new URL(`peers/${name}`, import.meta.url));
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

function show(ms: number): string {
  const perSecond = sizeBytes / 2 ** 30 / (ms / 1000);
  return `${Math.round(ms)} ms (${perSecond.toFixed(2)} GiB/s)`;
}

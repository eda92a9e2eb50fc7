/**
 * Claims: a Float64Array of 256 MiB moves from worker to worker at least 0.7 times as fast as a raw
 * TCP copy of the same bytes between two Node processes, and the resident memory of neither worker
 * exceeds 2.2 times the array, if it was made by `resultArray`; and farm is at least three times as
 * fast as Dask where workers of one host can map each other's results.
 *
 * The first three measure the same: from the moment the consumer may begin until it has the array in its
 * own process and has read one number of each 4 KiB of it.
 *
 * - farm: two worker processes of one thread. The array is complete on one of them, nothing of it has
 *   left that. The clock starts before a task with the array as input is submitted to the other one,
 *   and stops inside that task, in the worker. All arrays have one size, so but for the first the worker
 *   has got the address of its memory ahead, though none of its pages. They are the pages that the array
 *   was made in: it is mapped.
 * - raw TCP: a process that has the array, and a fresh one that connects on loopback, reads it
 *   into fresh memory (one buffer of 1 MiB, copied from there). Started before its clock is.
 * - Dask, where `FARM_BENCH_PYTHON` names a Python that has dask.distributed and NumPy: as farm. The
 *   same two processes, one thread each, the same clock, the same reads.
 * - within one process: the array is copied, once, by one thread, into new memory in huge pages, which
 *   no transfer can beat that copies.
 *
 * They take turns within each round. Right before each of them as much free memory of the machine as
 * all of it needs is touched and given back: a virtual machine's host takes back what is free for
 * seconds, and to get it again costs many times what is measured here. The memory that the array
 * arrives in is new to its process in each round, for all of them; in huge pages in workers of farm,
 * in Dask (by NumPy) and within one process, in pages of 4 KiB for raw TCP, as Node starts. Peaks of
 * resident memory are those of all rounds, once for arrays made by `resultArray` and once for arrays
 * that are simply returned, which are there twice while they are encoded.
 *
 * `npm run node -- benchmarks/transfer.ts [MIB] [ROUNDS]`
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { Client } from '@farm/client';
import { LocalCluster } from '@farm/cluster';
import { withHugePages } from '@farm/protocol/huge-pages';
import { taskContext } from '@farm/worker';

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

const toucher = spawn(
  process.execPath,
  ['--expose-gc', peerPath('touch-memory.mjs'), String(sizeBytes)],
  { stdio: ['pipe', 'pipe', 'inherit'], env: withHugePages(process.env) },
);
const touched = createInterface(toucher.stdout)[Symbol.asyncIterator]();

console.log(machineLine());
const dask = startDask();
const farmTimes: number[] = [];
const daskTimes: number[] = [];
const tcpTimes: number[] = [];
const memoryTimes: number[] = [];
for (let round = 0; round <= rounds; round++) {
  const farmMs = await transfer(makeInPlace);
  await touchMemory();
  const tcpMs = rawCopy();
  const daskMs = await dask?.transfer();
  const memoryMs = await copyWithinProcess();
  const isWarmUp = round === 0;
  if (!isWarmUp) {
    farmTimes.push(farmMs);
    tcpTimes.push(tcpMs);
    memoryTimes.push(memoryMs);
    if (daskMs !== undefined) daskTimes.push(daskMs);
  }
  const name = isWarmUp ? 'warm-up' : `round ${round}`;
  const ratio = (tcpMs / farmMs).toFixed(2);
  const beside = daskMs === undefined ? '' : `, Dask ${show(daskMs)}`;
  console.log(
    `${name}: farm ${show(farmMs)}, raw TCP ${show(tcpMs)}, speed ratio ${ratio}${beside}, ` +
      `within one process ${show(memoryMs)}`,
  );
}
tcpServer.stdin.end();
dask?.end();
tell('raw TCP', tcpTimes);
if (dask !== undefined) tell('Dask', daskTimes);
tell('a copy within one process', memoryTimes);
tellPeaks('made by resultArray');
for (const pid of pids) forgetPeak(pid);
for (let round = 0; round < rounds; round++) await transfer(makePlain);
tellPeaks('simply returned');
toucher.stdin.end();

/** Medians, and of each round the ratio. */
function tell(name: string, times: readonly number[]): void {
  const ratios = farmTimes.map((figure, index) => (times[index] ?? NaN) / figure);
  const lowest = Math.min(...ratios).toFixed(2);
  console.log(
    `median of ${rounds}: farm ${show(median(farmTimes))}, ${name} ${show(median(times))}, ` +
      `farm's speed / that of ${name} ${median(ratios).toFixed(2)} (at least ${lowest})`,
  );
}

function tellPeaks(how: string): void {
  for (const [index, pid] of pids.entries()) {
    const peak = peakBytes(pid);
    console.log(
      `arrays ${how}, worker that ${index === 0 ? 'makes' : 'takes'} them: at most ` +
        `${mebibytes(peak)} resident, ${(peak / sizeBytes).toFixed(2)} times the array ` +
        `(${mebibytes(idleBytes[index] ?? NaN)} before)`,
    );
  }
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
      stdin.write('make\n');
      await lines.next();
      await touchMemory();
      stdin.write('take\n');
      const next: IteratorResult<unknown, unknown> = await lines.next();
      return Number(next.value);
    },
    end: () => stdin.end(),
  };
}

function makeInPlace(length: number): Float64Array {
  const values = taskContext().resultArray(Float64Array, length);
  for (let index = 0; index < length; index++) values[index] = index;
  return values;
}

function makePlain(length: number): Float64Array {
  const values = new Float64Array(length);
  for (let index = 0; index < length; index++) values[index] = index;
  return values;
}

async function transfer(make: (length: number) => Float64Array): Promise<number> {
  const made = client.with({ workers: 'local-0' }).submit(make, count);
  if ((await made.exception()) !== undefined) throw new Error('the array could not be made');
  await touchMemory();
  const startedMs = Date.now();
  const taken = taker.submit((values: Float64Array) => {
    let sum = 0;
    for (let index = 0; index < values.length; index += 512) sum += values[index] ?? 0;
    return { sum, readMs: Date.now() };
  }, made);
  const { sum, readMs } = await taken.result();
  taken.release();
  made.release();
  const reads = Math.ceil(count / 512);
  if (sum !== (512 * reads * (reads - 1)) / 2) throw new Error(`the sum is ${sum}`);
  return readMs - startedMs;
}

/** Memory that is free on this machine is really there, for a moment. */
async function touchMemory(): Promise<void> {
  toucher.stdin.write('touch\n');
  await touched.next();
}

/** The same array, copied by one thread in memory. */
async function copyWithinProcess(): Promise<number> {
  await touchMemory();
  toucher.stdin.write('copy\n');
  const next: IteratorResult<unknown, unknown> = await touched.next();
  return Number(next.value);
}

function rawCopy(): number {
  const args = [peerPath('tcp-copy.mjs'), 'receive', tcpPort, String(sizeBytes), '1'];
  return Number(execFileSync(process.execPath, args, { encoding: 'utf8' }).trim());
}

/** Its peak counts from what it has resident now. */
function forgetPeak(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}

/** The most memory a process had resident. */
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

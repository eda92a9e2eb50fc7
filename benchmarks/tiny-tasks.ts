/**
 * Claim: `map` of 100,000 trivial functions and gather runs at least 30,000 tasks a second through
 * client, scheduler and two one-thread workers, all separate processes on two cores.
 *
 * Beside it in the same run, in turn: Piscina with two threads in this process, one `run()` a task.
 * Piscina has no scheduler, no network and no second process; it shows what such a call costs on
 * this machine. With `FARM_BENCH_PYTHON` naming a Python that has dask.distributed: Dask, two
 * one-thread worker processes, a tenth of the tasks.
 *
 * `npm run node -- benchmarks/tiny-tasks.ts [TASKS] [ROUNDS]`
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { Client } from '@farm/client';
import { LocalCluster } from '@farm/cluster';
import { Piscina } from 'piscina';

import { machineLine, median } from './machine.ts';

const tasks = Number(process.argv[2] ?? 100_000);
const rounds = Number(process.argv[3] ?? 5);
const inputs = Array.from({ length: tasks }, (_, index) => index);

await using cluster = await LocalCluster.start({
  workers: 2,
  threadsPerWorker: 1,
  nanny: false,
  dashboardAddress: null,
});
await using client = new Client(cluster);
const pool = new Piscina({
  filename: fileURLToPath(new URL('peers/piscina-task.mjs', import.meta.url)),
  minThreads: 2,
  maxThreads: 2,
  maxQueue: tasks,
});

const farmRates: number[] = [];
const poolRates: number[] = [];
console.log(machineLine());
for (let round = 0; round <= rounds; round++) {
  const farmRate = await rate(runFarm);
  const poolRate = await rate(runPool);
  const isWarmUp = round === 0;
  if (!isWarmUp) {
    farmRates.push(farmRate);
    poolRates.push(poolRate);
  }
  const name = isWarmUp ? 'warm-up' : `round ${round}`;
  const ratio = (farmRate / poolRate).toFixed(2);
  console.log(`${name}: farm ${show(farmRate)}, Piscina ${show(poolRate)}, ratio ${ratio}`);
}
const ratios = farmRates.map((figure, index) => figure / (poolRates[index] ?? NaN));
console.log(
  `median of ${rounds}: farm ${show(median(farmRates))}, Piscina ${show(median(poolRates))}, ` +
    `farm / Piscina ${median(ratios).toFixed(2)}`,
);
await pool.destroy();

const python = process.env['FARM_BENCH_PYTHON'];
if (python !== undefined) {
  const script = fileURLToPath(new URL('peers/dask-tiny-tasks.py', import.meta.url));
  const text = execFileSync(python, [script, String(Math.ceil(tasks / 10))], { encoding: 'utf8' });
  const daskRate = Number(text.trim());
  const ratio = (median(farmRates) / daskRate).toFixed(0);
  console.log(`Dask ${show(daskRate)}, farm / Dask ${ratio}`);
}

async function runFarm(): Promise<void> {
  const futures = client.map((x: number) => x + 1, inputs);
  const results = await client.gather(futures);
  check(results);
  for (const future of futures) future.release();
}

async function runPool(): Promise<void> {
  check(await Promise.all(inputs.map((input) => pool.run(input))));
}

function check(results: readonly unknown[]): void {
  const wrong = results.findIndex((result, index) => result !== index + 1);
  if (wrong !== -1 || results.length !== tasks) throw new Error(`result ${wrong} is wrong`);
}

async function rate(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (tasks / (performance.now() - startMs)) * 1000;
}

function show(perSecond: number): string {
  return `${Math.round(perSecond).toLocaleString('en')} tasks/s`;
}

/**
 * How many commands a second: `true`, on a worker of two slots, beside `xargs -P2 -n1 true` in the
 * same run, in turn; and what a command costs in a map ten times as long.
 *
 * `npm run node -- benchmarks/commands.ts [TASKS] [ROUNDS]`
 */
import { spawnSync } from 'node:child_process';

import { Client, command } from '@farm/client';
import { LocalCluster } from '@farm/cluster';

import { machineLine, median } from './machine.ts';

const tasks = Number(process.argv[2] ?? 5_000);
const rounds = Number(process.argv[3] ?? 3);
console.log(machineLine());

await using cluster = await LocalCluster.start({
  workers: 1,
  threadsPerWorker: 2,
  nanny: false,
  dashboardAddress: null,
});
await using client = new Client(cluster);
const noop = command('true', []);
await client.gather(client.map(noop, inputs(1_000)));

const farmRates: number[] = [];
const xargsRates: number[] = [];
for (let round = 1; round <= rounds; round++) {
  farmRates.push(await farmRate(tasks));
  xargsRates.push(xargsRate(tasks));
  const farm = Math.round(farmRates.at(-1) ?? 0);
  const xargs = Math.round(xargsRates.at(-1) ?? 0);
  console.log(`round ${round}: farm ${farm} commands/s, xargs ${xargs} commands/s`);
}
const ratios = farmRates.map((figure, index) => figure / (xargsRates[index] ?? NaN));
console.log(
  `median: farm ${Math.round(median(farmRates))} commands/s, farm / xargs ${median(ratios).toFixed(2)}`,
);

const longer = 10 * tasks;
const [farmLong, xargsLong] = [await farmRate(longer), xargsRate(longer)];
console.log(
  `${longer} commands: farm ${Math.round(farmLong)} commands/s, xargs ${Math.round(xargsLong)}, ` +
    `farm / xargs ${(farmLong / xargsLong).toFixed(2)}; time per command of farm, as against ` +
    `${tasks}: ${(median(farmRates) / farmLong).toFixed(2)} times, of xargs ` +
    `${(median(xargsRates) / xargsLong).toFixed(2)} times`,
);

function inputs(count: number): string[] {
  return Array.from({ length: count }, (_, index) => String(index));
}

async function farmRate(count: number): Promise<number> {
  const startMs = performance.now();
  const results = await client.gather(client.map(noop, inputs(count)));
  if (results.some((result) => result.exitCode !== 0)) throw new Error('a command failed');
  return (count / (performance.now() - startMs)) * 1000;
}

function xargsRate(count: number): number {
  const startMs = performance.now();
  const { status } = spawnSync('xargs', ['-P2', '-n1', 'true'], {
    input: inputs(count).join('\n'),
  });
  if (status !== 0) throw new Error(`xargs ended with ${status}`);
  return (count / (performance.now() - startMs)) * 1000;
}

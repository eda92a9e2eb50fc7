/**
 * How many commands a second: `true`, on two workers of one slot each, beside `xargs -P2 -n1 true`
 * in the same run, in turn.
 *
 * `npm run node -- benchmarks/commands.ts [TASKS] [ROUNDS]`
 */
import { spawnSync } from 'node:child_process';

import { Client, command } from '@farm/client';
import { LocalCluster } from '@farm/cluster';

import { machineLine, median } from './machine.ts';

const tasks = Number(process.argv[2] ?? 1_000);
const rounds = Number(process.argv[3] ?? 3);
const inputs = Array.from({ length: tasks }, (_, index) => String(index));
console.log(machineLine());

await using cluster = await LocalCluster.start({
  workers: 2,
  threadsPerWorker: 1,
  nanny: false,
  dashboardAddress: null,
});
await using client = new Client(cluster);
const noop = command('true', []);
await client.gather(client.map(noop, inputs.slice(0, 20)));

const farmRates: number[] = [];
const xargsRates: number[] = [];
for (let round = 1; round <= rounds; round++) {
  farmRates.push(await farmRate());
  xargsRates.push(xargsRate());
  const farm = Math.round(farmRates.at(-1) ?? 0);
  const xargs = Math.round(xargsRates.at(-1) ?? 0);
  console.log(`round ${round}: farm ${farm} commands/s, xargs ${xargs} commands/s`);
}
const ratios = farmRates.map((figure, index) => figure / (xargsRates[index] ?? NaN));
console.log(
  `median: farm ${Math.round(median(farmRates))} commands/s, farm / xargs ${median(ratios).toFixed(2)}`,
);

async function farmRate(): Promise<number> {
  const startMs = performance.now();
  const results = await client.gather(client.map(noop, inputs));
  if (results.some((result) => result.exitCode !== 0)) throw new Error('a command failed');
  return (tasks / (performance.now() - startMs)) * 1000;
}

function xargsRate(): number {
  const startMs = performance.now();
  const { status } = spawnSync('xargs', ['-P2', '-n1', 'true'], { input: inputs.join('\n') });
  if (status !== 0) throw new Error(`xargs ended with ${status}`);
  return (tasks / (performance.now() - startMs)) * 1000;
}

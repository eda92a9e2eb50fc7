/**
 * Claim: a `map` of 1,000,000 and its gather complete, and the scheduler's peak memory grows by
 * less than 1 KiB a task.
 *
 * `npm run node -- benchmarks/million-map.ts [TASKS]` (Linux: reads the peak from /proc)
 */
import { readFileSync } from 'node:fs';

import { Client } from '@farm/client';
import { LocalCluster } from '@farm/cluster';

import { machineLine } from './machine.ts';

const tasks = Number(process.argv[2] ?? 1_000_000);
console.log(machineLine());

await using cluster = await LocalCluster.start({
  workers: 2,
  threadsPerWorker: 1,
  nanny: false,
  dashboardAddress: null,
});
await using client = new Client(cluster);
const file = JSON.parse(readFileSync(cluster.schedulerFile, 'utf8')) as { farm: { pid: number } };
const { pid } = file.farm;

await client.gather(
  client.map(
    (x: number) => x + 1,
    Array.from({ length: 1000 }, (_, i) => i),
  ),
);
const beforeBytes = peakBytes(pid);
const startMs = performance.now();
const futures = client.map(
  (x: number) => x + 1,
  Array.from({ length: tasks }, (_, i) => i),
);
const results = await client.gather(futures);
const seconds = (performance.now() - startMs) / 1000;
const wrong = results.findIndex((result, index) => result !== index + 1);
if (wrong !== -1 || results.length !== tasks) throw new Error(`result ${wrong} is wrong`);
const grownBytes = peakBytes(pid) - beforeBytes;
console.log(
  `${tasks.toLocaleString('en')} tasks in ${seconds.toFixed(2)} s, ${Math.round(tasks / seconds).toLocaleString('en')} tasks/s`,
);
console.log(
  `scheduler: peak memory grew by ${(grownBytes / 2 ** 20).toFixed(0)} MiB, ${Math.round(grownBytes / tasks)} bytes a task`,
);
console.log(`client: peak memory ${(peakBytes(process.pid) / 2 ** 20).toFixed(0)} MiB`);

/** High-water mark of a process's resident memory. */
function peakBytes(processId: number): number {
  const status = readFileSync(`/proc/${processId}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
}

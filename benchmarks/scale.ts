/**
 * What does the scheduler's core take for a task, from 10 workers to 10,000 (of four slots) and from
 * 10,000 tasks to 1,000,000? The aim: flat within 1.3×. The last line says whether that holds.
 *
 * `npm run node -- benchmarks/scale.ts [--quick]`
 *
 * The production core runs random graphs of a hundred tasks that take from 1 ms to 10 s. A client
 * submits all of them at once and keeps nothing but the ends; workers are played on a virtual clock,
 * fetch what they lack, and report what ended once a millisecond; what arrives within a millisecond
 * is handled together. Each task is counted from its submission until it is forgotten.
 *
 * Each row is a process of its own, in which the cluster has worked a while before it is measured:
 * functions are known everywhere, durations too. Its garbage is collected on the measured thread, so
 * that it counts, that of the played workers as well. CPU time is that of the thread, times the part
 * of the time that was spent inside the core. The least of the repeats is printed: whatever else the
 * machine does only adds to it.
 *
 * It fails where a task runs twice or never, where something is left behind, or where slots are free
 * while something is ready.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import { machineLine } from './machine.ts';
import type { Measured } from './scale/measure.ts';

/** Busy slots, of those that could have been. */
const UTILISATION_MIN = 0.98;
/** What the cheapest and the dearest row are to differ by at most. */
const AIM_RATIO = 1.3;
const MEASURE = fileURLToPath(new URL('scale/measure.ts', import.meta.url));

const isQuick = process.argv.includes('--quick');
const rows: readonly (readonly [workers: number, tasks: number])[] = isQuick
  ? [
      [10, 20_000],
      [100, 20_000],
      [1_000, 20_000],
      [100, 5_000],
      [100, 80_000],
    ]
  : [
      [10, 100_000],
      [100, 100_000],
      [1_000, 100_000],
      [10_000, 100_000],
      [1_000, 10_000],
      [1_000, 1_000_000],
      [10_000, 10_000],
      [10_000, 1_000_000],
    ];

console.log(machineLine());
const measured = rows.map(([workers, tasks]) => measure(workers, tasks));
const leastUs = Math.min(...measured.map(({ us }) => Math.min(...us)));
const heads = [
  'workers',
  'tasks',
  'µs/task',
  'ratio',
  'busy',
  'heap B/task',
  'tasks/handle',
  'moved',
];
console.log(heads.map((head) => head.padStart(12)).join(''));
for (const {
  workers,
  tasks,
  us,
  utilisation,
  heapPerTask,
  tasksPerHandle,
  movedPart,
} of measured) {
  const bestUs = Math.min(...us);
  const cells = [
    workers.toLocaleString('en'),
    tasks.toLocaleString('en'),
    bestUs.toFixed(1),
    (bestUs / leastUs).toFixed(2),
    `${(utilisation * 100).toFixed(1)} %`,
    heapPerTask.toFixed(0),
    tasksPerHandle.toFixed(1),
    `${(movedPart * 100).toFixed(2)} %`,
  ];
  console.log(cells.map((cell) => cell.padStart(12)).join(''));
}
const ratio = Math.max(...measured.map(({ us }) => Math.min(...us))) / leastUs;
const verdict = ratio <= AIM_RATIO ? 'holds' : 'does not hold';
console.log(`flat within ${AIM_RATIO}×: ${verdict}, ${ratio.toFixed(2)}×`);
const idle = measured.find(({ utilisation }) => utilisation < UTILISATION_MIN);
if (idle !== undefined) throw new Error(`slots of ${idle.workers} workers were left idle`);

function measure(workers: number, tasks: number): Measured {
  const repeats = isQuick ? 1 : Math.min(10, Math.max(2, Math.ceil(300_000 / tasks)));
  const flags = ['--conditions=@farm/source', '--expose-gc', '--single-threaded-gc'];
  const settings = [workers, tasks, repeats, isQuick ? 10_000 : 40_000].map(String);
  const encoding = 'utf8';
  const line = execFileSync(process.execPath, [...flags, MEASURE, ...settings], { encoding });
  // SAFE: what `measure.ts` prints.
  return JSON.parse(line) as Measured;
}

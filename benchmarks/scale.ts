/**
 * What does the scheduler's core take for a task, from 10 workers to 10,000 (of four slots) and from
 * 10,000 tasks to 1,000,000? The aim: flat within 1.3× in each sweep, of workers with the tasks as they
 * are and of tasks with the workers as they are. The last line says whether that holds, and how far
 * apart any two rows are.
 *
 * `npm run node -- benchmarks/scale.ts [--quick]`
 *
 * The production core runs random graphs of a hundred tasks that take from 1 ms to 10 s. A client
 * submits all of them at once and keeps nothing but the ends; workers are played on a virtual clock,
 * fetch what they lack, and report what ended once a millisecond; what arrives within a millisecond
 * is handled together. Each task is counted from its submission until it is forgotten.
 *
 * First each row is played once, and what the core was told is written down as it would arrive, in
 * frames. Then it is told the same in a process of its own, which has nothing else to do: for each
 * batch, frames are decoded, which is not counted, and the core handles the messages, which is. The
 * rows take turns. The process runs under the flags of `farm-scheduler`; its garbage is collected on
 * the measured thread: what falls into the core counts, what falls into decoding does not, and so
 * each pays for what it makes. CPU time is that of the thread, times the part of the time that was
 * spent inside the core. Before it is measured the cluster has worked a while: functions are known
 * everywhere, durations too. The least of the repeats is printed: whatever else the machine does only
 * adds to it.
 *
 * It fails where a task runs twice or never, where something is left behind, or where slots are free
 * while something is ready.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { machineLine } from './machine.ts';
import type { Measured } from './scale/measure.ts';
import type { Recorded } from './scale/record.ts';

/** Busy slots, of those that could have been. */
const UTILISATION_MIN = 0.98;
/** What the cheapest and the dearest row of a sweep are to differ by at most. */
const AIM_RATIO = 1.3;
const RECORD = fileURLToPath(new URL('scale/record.ts', import.meta.url));
const MEASURE = fileURLToPath(new URL('scale/measure.ts', import.meta.url));
/** Each row is measured as often, in turns; those of one wave, twice in each. */
const TURNS = 2;
const SOURCES = '--conditions=@farm/source';
/** Those of `farm-scheduler` that bear on speed, and those that let garbage be measured. */
const MEASURE_FLAGS: readonly string[] = [
  '--no-allocation-site-pretenuring',
  '--min-semi-space-size=16',
  '--external-memory-accounted-in-global-limit',
  '--single-threaded-gc',
  '--expose-gc',
];

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

interface Row extends Recorded {
  readonly workers: number;
  readonly tasks: number;
  readonly path: string;
  readonly us: number[];
  readonly gcUs: number[];
  heapPerTask: number;
}

console.log(machineLine());
const folder = mkdtempSync(join(tmpdir(), 'farm-scale-'));
const measured: readonly Row[] = measureAll();
const bestUs = ({ us }: Row): number => Math.min(...us);
const leastUs = Math.min(...measured.map(bestUs));
const heads = [
  'workers',
  'tasks',
  'µs/task',
  'ratio',
  'gc µs/task',
  'busy',
  'heap B/task',
  'tasks/handle',
  'moved',
];
console.log(heads.map((head) => head.padStart(12)).join(''));
for (const row of measured) {
  const cells = [
    row.workers.toLocaleString('en'),
    row.tasks.toLocaleString('en'),
    bestUs(row).toFixed(1),
    (bestUs(row) / leastUs).toFixed(2),
    Math.min(...row.gcUs).toFixed(1),
    `${(row.utilisation * 100).toFixed(1)} %`,
    row.heapPerTask.toFixed(0),
    row.tasksPerHandle.toFixed(1),
    `${(row.movedPart * 100).toFixed(2)} %`,
  ];
  console.log(cells.map((cell) => cell.padStart(12)).join(''));
}
const sweeps = [...tellSweeps('workers', 'tasks'), ...tellSweeps('tasks', 'workers')];
const ratio = Math.max(...sweeps);
const verdict = ratio <= AIM_RATIO ? 'holds' : 'does not hold';
const overall = Math.max(...measured.map(bestUs)) / leastUs;
console.log(
  `flat within ${AIM_RATIO}×: ${verdict}, at most ${ratio.toFixed(2)}× in a sweep; ` +
    `${overall.toFixed(2)}× over all rows`,
);
const idle = measured.find(({ utilisation }) => utilisation < UTILISATION_MIN);
if (idle !== undefined) throw new Error(`slots of ${idle.workers} workers were left idle`);

/** How far rows are apart that differ in `varied` only. */
function tellSweeps(varied: 'workers' | 'tasks', fixed: 'workers' | 'tasks'): readonly number[] {
  const ratios: number[] = [];
  for (const at of new Set(measured.map((row) => row[fixed]))) {
    const sweep = measured.filter((row) => row[fixed] === at);
    if (sweep.length < 2) continue;
    const from = Math.min(...sweep.map((row) => row[varied])).toLocaleString('en');
    const to = Math.max(...sweep.map((row) => row[varied])).toLocaleString('en');
    const apart = Math.max(...sweep.map(bestUs)) / Math.min(...sweep.map(bestUs));
    const beside = `${at.toLocaleString('en')} ${fixed}`;
    console.log(`${from} to ${to} ${varied}, ${beside}: ${apart.toFixed(2)}×`);
    ratios.push(apart);
  }
  return ratios;
}

function measureAll(): Row[] {
  try {
    const found = rows.map(([workers, tasks]) => recordRow(workers, tasks));
    for (let turn = isQuick ? TURNS : 1; turn <= TURNS; turn++) {
      for (const row of found) {
        do {
          const { us, gcUs, heapPerTask } = measureRow(row);
          row.us.push(...us);
          row.gcUs.push(gcUs);
          row.heapPerTask = heapPerTask;
        } while (row.us.length < 2 * turn);
      }
    }
    return found;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Waves of a row: enough of small ones that what is measured is more than a moment. */
function recordRow(workers: number, tasks: number): Row {
  const waves = isQuick ? 1 : Math.min(10, Math.max(1, Math.ceil(200_000 / tasks)));
  const path = join(folder, `${workers}-${tasks}`);
  const settings = [path, workers, tasks, waves, isQuick ? 10_000 : 40_000].map(String);
  // SAFE: what `record.ts` prints.
  const recorded = JSON.parse(run([SOURCES, RECORD, ...settings])) as Recorded;
  return { ...recorded, workers, tasks, path, us: [], gcUs: [], heapPerTask: 0 };
}

function measureRow({ path, tasks }: Row): Measured {
  // SAFE: what `measure.ts` prints.
  return JSON.parse(run([SOURCES, ...MEASURE_FLAGS, MEASURE, path, String(tasks)])) as Measured;
}

function run(args: readonly string[]): string {
  return execFileSync(process.execPath, args, { encoding: 'utf8' });
}

/**
 * One row of the table, in a process of its own: `measure.ts WORKERS TASKS REPEATS WARM_UP_TASKS`
 * prints a {@link Measured} as JSON.
 */
import { VirtualCluster } from './virtual-cluster.ts';

/** What one process measured. */
export interface Measured {
  readonly workers: number;
  readonly tasks: number;
  /** Microseconds of CPU time a task inside the core, of each repeat. */
  readonly us: readonly number[];
  /** The least of the repeats: busy slots, of those that could have been. */
  readonly utilisation: number;
  /** Bytes of heap a task, right after all are submitted and all garbage is collected. */
  readonly heapPerTask: number;
  /** Microseconds inside the core for one worker that joins. */
  readonly joinUs: number;
  readonly tasksPerHandle: number;
  /** Part of the tasks that were moved to another worker before they began. */
  readonly movedPart: number;
}

const [workers = 10, tasks = 10_000, repeats = 1, warmUpTasks = 40_000] = process.argv
  .slice(2)
  .map(Number);

const cluster = new VirtualCluster(workers, 1);
const joinUs = (cluster.joinMs * 1_000) / workers;
cluster.warmUp(warmUpTasks);
globalThis.gc?.();
const idleBytes = process.memoryUsage().heapUsed;
const us: number[] = [];
let utilisation = 1;
let handles = 0;
let moved = 0;
let heapBytes = 0;
for (let repeat = 1; repeat <= repeats; repeat++) {
  const wave = cluster.run(tasks, repeat === repeats);
  us.push((wave.coreMs * 1_000) / wave.tasks);
  utilisation = Math.min(utilisation, wave.utilisation);
  handles += wave.handles;
  moved += wave.moved;
  heapBytes = Math.max(heapBytes, (wave.heapBytes ?? idleBytes) - idleBytes);
}
const measured: Measured = {
  workers,
  tasks,
  us,
  utilisation,
  heapPerTask: heapBytes / tasks,
  joinUs,
  tasksPerHandle: (tasks * repeats) / handles,
  movedPart: moved / (tasks * repeats),
};
console.log(JSON.stringify(measured));

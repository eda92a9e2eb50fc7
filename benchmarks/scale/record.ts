/**
 * Runs a virtual cluster and writes down what its core was told: `record.ts FILE WORKERS TASKS WAVES
 * WARM_UP_TASKS` prints a {@link Recorded} as JSON.
 */
import { RecordingWriter } from './recording.ts';
import { VirtualCluster } from './virtual-cluster.ts';

/** What was recorded. */
export interface Recorded {
  /** The least of the waves: busy slots, of those that could have been. */
  readonly utilisation: number;
  readonly tasksPerHandle: number;
  /** Part of the tasks that were moved to another worker before they began. */
  readonly movedPart: number;
}

const [path = '', ...numbers] = process.argv.slice(2);
const [workers = 10, tasks = 10_000, waves = 1, warmUpTasks = 40_000] = numbers.map(Number);

const writer = new RecordingWriter(path);
const cluster = new VirtualCluster(workers, 1, {
  handled: (events, instructions) => writer.handled(events, instructions),
  submitted: () => writer.mark('submitted'),
});
cluster.warmUp(warmUpTasks);
let utilisation = 1;
let handles = 0;
let moved = 0;
for (let left = waves; left > 0; left--) {
  writer.mark('wave-begins');
  const wave = cluster.run(tasks);
  writer.mark('wave-ends');
  utilisation = Math.min(utilisation, wave.utilisation);
  handles += wave.handles;
  moved += wave.moved;
}
writer.close();
const recorded: Recorded = {
  utilisation,
  tasksPerHandle: (tasks * waves) / handles,
  movedPart: moved / (tasks * waves),
};
console.log(JSON.stringify(recorded));

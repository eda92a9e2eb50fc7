import type { WorkerRun } from './run.ts';
import type { WorkerState } from './worker-state.ts';

/** A run is over, in whatever way: nothing of it stays. */
export function endRun(state: WorkerState, run: WorkerRun): void {
  if (run.state === 'ready') state.ready.remove(run);
  run.state = 'gone';
  state.runs.delete(run.run);
  state.data.release(run);
  state.functions.release(run.fn);
}

import type { WorkerRun } from './run.ts';
import type { WorkerState } from './worker-state.ts';

/** A run that may end, in a slot or without one. */
export function begun(state: WorkerState, id: number): WorkerRun | undefined {
  const run = state.runs.get(id);
  return run?.state === 'seceded' ? run : slotted(state, id);
}

/** A run that a slot may report about; reports about others are counted and dropped. */
export function slotted(state: WorkerState, id: number): WorkerRun | undefined {
  const run = state.runs.get(id);
  if (run?.state === 'slotted') return run;
  strayed(state, `a report about run ${id}`);
  return undefined;
}

/** Counts what was said about something that is not known (any more). */
export function strayed(state: WorkerState, what: string): void {
  state.stray += 1;
  state.out.push({ do: 'log', level: 'debug', message: `ignored: ${what}` });
}

import { slotted } from './reported-run.ts';
import type { WorkerRun } from './run.ts';
import type { WorkerState } from './worker-state.ts';

/** A run goes on without a slot; what it was asked meanwhile is seen to now. */
export function takeSeceded(state: WorkerState, id: number, nowMs: number): void {
  const run = slotted(state, id);
  if (run === undefined) return;
  const { slot, stop, isWithdrawing } = run;
  state.slots.leave(run, nowMs);
  run.state = 'seceded';
  run.secededFrom = slot;
  state.outbox.seceded(id);
  if (isWithdrawing) stopSeceded(state, run, stop);
}

/** A run without a slot has begun: it is interrupted where its code is, or goes on. */
export function stopSeceded(state: WorkerState, run: WorkerRun, stop: WorkerRun['stop']): void {
  const { run: id, key, secededFrom: slot } = run;
  if (stop === 'running') {
    run.stop = stop;
    const reason = `${key} was cancelled`;
    state.out.push({ do: 'interrupt', slot, run: id, code: 'ERR_CANCELLED', reason });
  } else if (stop === 'unstarted') {
    run.stop = null;
    state.outbox.kept(id);
  }
}

/** The runs that wait for other tasks without a slot. */
export function secededRuns({ runs }: WorkerState): readonly WorkerRun[] {
  return [...runs.values()].filter(({ state }) => state === 'seceded');
}

import type { RunsWithdrawn } from './events.ts';
import { endRun } from './run-end.ts';
import type { WorkerRun } from './run.ts';
import { stopSeceded } from './seceded.ts';
import { waitingInSlot } from './slots.ts';
import type { WorkerState } from './worker-state.ts';

/** Gives runs up, wherever they are, or only those that have not started. Slots answer later. */
export function stopRuns(
  state: WorkerState,
  ids: readonly number[],
  stop: 'running' | 'unstarted',
): void {
  const withdrawn = new Map<number, number[]>();
  for (const id of ids) {
    const run = state.runs.get(id);
    if (run === undefined) {
      // Ended already: its end is on its way to the scheduler.
      state.outbox.kept(id);
      continue;
    }
    if (run.state === 'seceded') {
      if (run.stop !== 'running') stopSeceded(state, run, stop);
      continue;
    }
    if (run.state !== 'slotted') {
      state.outbox.stopped(id);
      endRun(state, run);
      continue;
    }
    if (run.stop !== 'running') run.stop = stop;
    if (run.isWithdrawing) continue;
    run.isWithdrawing = true;
    const runs = withdrawn.get(run.slot) ?? [];
    runs.push(id);
    withdrawn.set(run.slot, runs);
  }
  for (const [slot, runs] of withdrawn) state.out.push({ do: 'withdraw', slot, runs });
}

/** The scheduler gets back what was not started. */
export function handBack(state: WorkerState): void {
  const unstarted = [...state.runs.values()].filter(
    (run) => run.state === 'waiting' || run.state === 'ready',
  );
  const behind = state.slots.all().flatMap((slot) => waitingInSlot(slot));
  stopRuns(
    state,
    [...unstarted, ...behind].map(({ run }) => run),
    'unstarted',
  );
}

/** What a slot was asked to give back it has given back, or had begun. */
export function takeWithdrawn(state: WorkerState, event: RunsWithdrawn): void {
  const asked = (id: number): WorkerRun | undefined => {
    const run = state.runs.get(id);
    return run?.slot === event.slot && run.isWithdrawing ? run : undefined;
  };
  takeBack(
    state,
    event.withdrawn.flatMap((id) => asked(id) ?? []),
    event.nowMs,
  );
  // What began behind another run shows that the slot goes on: reports are on their way.
  if (event.started.length > 0) state.slots.at(event.slot).heardMs = event.nowMs;
  for (const id of event.started) {
    const run = asked(id);
    if (run === undefined) continue;
    run.isWithdrawing = false;
    if (run.stop === 'running') {
      const { key, slot } = run;
      const reason = `${key} was cancelled`;
      state.out.push({ do: 'interrupt', slot, run: id, code: 'ERR_CANCELLED', reason });
    } else if (run.stop === 'unstarted') {
      run.stop = null;
      state.outbox.kept(id);
    }
  }
}

/** Runs that a slot gave back unstarted: they are next, unless nobody wants them. */
export function takeBack(state: WorkerState, runs: readonly WorkerRun[], nowMs: number): void {
  for (const run of runs) state.slots.leave(run, nowMs);
  for (const run of runs) {
    if (run.stop === null) continue;
    state.outbox.stopped(run.run);
    endRun(state, run);
  }
  const kept = runs.filter((run) => run.stop === null);
  for (const run of kept) {
    run.state = 'waiting';
    state.data.requireAgain(run);
  }
  state.ready.pushFront(kept.filter((run) => run.missing === 0));
}

/** Asks for what waits behind a run that takes surprisingly long while another slot is idle. */
export function withdrawStuck(state: WorkerState, nowMs: number): void {
  const { slots, lookAgainMs } = state.slots.stuck(nowMs);
  for (const slot of slots) {
    const runs = waitingInSlot(slot);
    for (const run of runs) run.isWithdrawing = true;
    state.out.push({ do: 'withdraw', slot: slot.index, runs: runs.map(({ run }) => run) });
  }
  if (lookAgainMs === null || state.isWakeAsked) return;
  state.isWakeAsked = true;
  state.out.push({ do: 'wake', afterMs: lookAgainMs });
}

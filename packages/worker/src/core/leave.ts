import { draining, leaving } from '@farm/protocol/core';

import { handBack } from './withdrawing.ts';
import type { WorkerState } from './worker-state.ts';

/** A draining worker gives up what waits for other tasks, and for nothing else, after so long. */
const DRAIN_WAITING_MS = 20_000;

/** It is to end, once what executes has ended. Said again, a restart may be called off. */
export function beginDrain(state: WorkerState, reason: string, restart: boolean): void {
  const before = state.drain;
  state.drain = {
    reason,
    restart: restart && before?.restart !== false,
    waitingSinceMs: before?.waitingSinceMs ?? null,
  };
  if (before !== null) return;
  state.outbox.message(draining(reason));
  handBack(state);
}

/** What waits for other tasks while nothing else runs may wait for ever: they need a worker. */
export function endDrain(state: WorkerState, nowMs: number): void {
  const { drain, runs } = state;
  if (drain === null) return;
  const isWaiting = runs.size > 0 && [...runs.values()].every((run) => run.state === 'seceded');
  drain.waitingSinceMs = isWaiting ? (drain.waitingSinceMs ?? nowMs) : null;
  if (!isWaiting || nowMs - (drain.waitingSinceMs ?? nowMs) < DRAIN_WAITING_MS) return;
  leave(state, drain.reason, drain.restart);
}

/** The scheduler wants it gone: as it was to end anyway, where it drains. */
export function leaveAsTold(state: WorkerState, reason: string, restart: boolean): void {
  const { drain } = state;
  leave(state, drain?.reason ?? reason, drain?.restart ?? restart);
}

/** Hands back what was not started, says that it leaves, and ends. */
export function leave(state: WorkerState, reason: string, isRestart: boolean = false): void {
  const { out, outbox } = state;
  for (const run of state.runs.values()) {
    if (run.state === 'slotted' || run.state === 'seceded') continue;
    outbox.stopped(run.run);
  }
  outbox.flush(out);
  out.push({ do: 'to-scheduler', message: leaving(reason) });
  out.push(isRestart ? { do: 'exit', reason, restart: true } : { do: 'exit', reason });
  state.isClosed = true;
}

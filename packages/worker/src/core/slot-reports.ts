import { failure, type Failure } from '@farm/protocol/core';

import type { RunEnded, RunErred, SlotEmptied } from './events.ts';
import { recordRun } from './function-table.ts';
import { begun, slotted, strayed } from './reported-run.ts';
import { endRun } from './run-end.ts';
import type { WorkerRun } from './run.ts';
import { takeBack } from './withdrawing.ts';
import type { WorkerState } from './worker-state.ts';

/** A run ended with a result. */
export function takeEnded(state: WorkerState, ended: RunEnded, nowMs: number): void {
  const run = begun(state, ended.run);
  if (run === undefined) return;
  recordRun(run.fn, ended.durationUs, ended.sizeBytes);
  leaveSlot(state, run, nowMs);
  state.outbox.finished(ended);
  if (run.stop !== null) state.outbox.kept(run.run);
  const ready = state.data.add(run.task, ended.sizeBytes);
  endRun(state, run);
  for (const other of ready) state.ready.push(other);
}

/** A run ended without a result; its slot goes on. */
export function takeErred(state: WorkerState, event: RunErred): void {
  const run = begun(state, event.run);
  if (run === undefined) return;
  const isTakenAlong = event.isTerminated === true && state.drain !== null;
  const why = isTakenAlong ? takenAlong(state, event.failure) : event.failure;
  failRun(state, run, why, event.durationUs, event.nowMs);
}

/** A slot is clean again: what it executed failed, and what waited in it was not started. */
export function takeEmptied(state: WorkerState, event: SlotEmptied): void {
  const { failed, nowMs } = event;
  if (failed !== null) {
    const run = slotted(state, failed.run);
    if (run?.stop === 'running') {
      state.slots.leave(run, nowMs);
      state.outbox.stopped(run.run);
      endRun(state, run);
    } else if (run !== undefined) {
      const durationUs = Math.max(0, (nowMs - state.slots.at(event.slot).heardMs) * 1_000);
      failRun(state, run, failed.failure, durationUs, nowMs);
    }
  }
  // Whatever is left was not started, whether the report names it or not: the slot is clean.
  const slot = state.slots.at(event.slot);
  for (const id of event.unstarted) {
    if (state.runs.get(id)?.state !== 'slotted') strayed(state, `an unstarted run ${id}`);
  }
  takeBack(state, [...slot.runs], nowMs);
}

function failRun(
  state: WorkerState,
  run: WorkerRun,
  why: Failure,
  durationUs: number,
  nowMs: number,
): void {
  leaveSlot(state, run, nowMs);
  if (run.stop === 'running' && why.code === 'ERR_CANCELLED') {
    // It ended by itself, on being told to.
    state.outbox.stopped(run.run);
    endRun(state, run);
    return;
  }
  const { code, message, origin, worker, error, name } = why;
  const named = failure(
    code,
    message,
    origin === '' ? run.key : origin,
    worker ?? state.name,
    error,
    name,
  );
  state.outbox.failed(run.run, named, durationUs);
  if (run.stop !== null) state.outbox.kept(run.run);
  endRun(state, run);
}

/** A command that was ended by what ends its worker: it runs elsewhere, if it may. */
function takenAlong({ name }: WorkerState, { message, origin }: Failure): Failure {
  const text = `${message}, as its worker was`;
  return failure('ERR_KILLED_WORKER', text, origin, name, null);
}

function leaveSlot({ slots }: WorkerState, run: WorkerRun, nowMs: number): void {
  if (run.state === 'slotted') slots.leave(run, nowMs);
}

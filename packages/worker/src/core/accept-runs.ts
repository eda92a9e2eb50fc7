import { failure, type Failure, type Run } from '@farm/protocol/core';

import type { KnownFunction } from './function-table.ts';
import { strayed } from './reported-run.ts';
import type { WorkerRun } from './run.ts';
import type { WorkerState } from './worker-state.ts';

/** The runs of one message begin to wait for their inputs; those that cannot run here fail. */
export function acceptRuns(state: WorkerState, message: Run): void {
  const { outbox } = state;
  if (state.isPaused || state.drain !== null) {
    // It was on its way when the scheduler was told.
    for (const id of message.runs) outbox.stopped(id);
    return;
  }
  const fn = state.functions.get(message.fn);
  const { resources } = message;
  const needsDevices = state.devices.areNeededBy(resources);
  for (const [index, id] of message.runs.entries()) {
    const key = blockKey(message, index);
    if (state.runs.has(id)) {
      strayed(state, `run ${id} of ${key} given twice`);
      continue;
    }
    if (fn === undefined || message.threads > state.slots.count) {
      outbox.failed(id, cannotRun(state, message, fn, key), 0);
      continue;
    }
    const devices = message.devices?.[index] ?? null;
    const named = needsDevices ? state.devices.name({ resources, devices }) : null;
    if (needsDevices && named === null) {
      const asked = resources.map(([name, amount]) => `${name}=${amount}`).join(' ');
      const text = `${key} takes ${asked}, and was not granted as many devices`;
      outbox.failed(id, failure('ERR_INTERNAL', text, key, state.name, null), 0);
      continue;
    }
    const dependencies = message.dependencies?.[index] ?? [];
    const run: WorkerRun = {
      run: id,
      task: message.tasks[index] ?? -1,
      fn,
      key,
      attempt: message.attempts?.[index] ?? 1,
      args: message.args.subarray(message.ends[index - 1] ?? 0, message.ends[index]),
      inputs: dependencies.map(({ task }) => task),
      threads: Math.max(1, message.threads),
      resources,
      devices,
      named,
      timeoutMs: message.timeoutMs,
      expectedUs: message.expectedUs,
      state: 'waiting',
      missing: 0,
      slot: -1,
      secededFrom: -1,
      chargedUs: 0,
      isWithdrawing: false,
      stop: null,
    };
    fn.runs += 1;
    state.runs.set(id, run);
    for (const input of dependencies) {
      const ready = state.data.require(run, input);
      // The run itself is not complete before its last input was looked at.
      for (const other of ready) if (other !== run) state.ready.push(other);
    }
    if (run.missing === 0) state.ready.push(run);
  }
}

function cannotRun(
  { name, slots }: WorkerState,
  { fn, threads }: Run,
  known: KnownFunction | undefined,
  key: string,
): Failure {
  if (known === undefined) {
    return failure('ERR_INTERNAL', `function ${fn} was never defined`, key, name, null);
  }
  const text = `${key} takes ${threads} threads, worker ${name} has ${slots.count}`;
  return failure('ERR_NO_WORKER', text, key, name, null);
}

function blockKey(message: Run, index: number): string {
  const at = message.indices?.[index];
  return at === undefined ? message.key : `${message.key}-${at}`;
}

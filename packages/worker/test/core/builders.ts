import {
  failure,
  run,
  runDependency,
  type Failure,
  type Run,
  type RunDependency,
  type WorkerBoundMessage,
  type WorkerMessage,
} from '@farm/protocol/core';

import type { Execute, RunEnded, WorkerEvent, WorkerInstruction } from '../../src/core/index.ts';

/** A `run` message; every task is numbered as its run. */
export function aRun(runs: readonly number[], fields: Partial<Omit<Run, 'op' | 'runs'>> = {}): Run {
  return run({
    fn: 1,
    key: 'f',
    indices: runs.length === 1 ? null : runs,
    tasks: runs,
    runs,
    args: new Uint8Array(runs.length),
    ends: runs.map((_, index) => index + 1),
    dependencies: null,
    threads: 1,
    resources: [],
    timeoutMs: null,
    attempts: null,
    expectedUs: null,
    ...fields,
  });
}

/** An input that peers hold. */
export function anInput(
  task: number,
  holders: readonly string[] = ['tcp://peer:1'],
): RunDependency {
  return runDependency(task, 100, holders, null);
}

/** An input that comes with the message. */
export function anInlineInput(task: number, bytes: readonly number[] = [7]): RunDependency {
  return runDependency(task, bytes.length, [], Uint8Array.from(bytes));
}

export function said(message: WorkerBoundMessage, nowMs: number = 0): WorkerEvent {
  return { kind: 'scheduler-said', nowMs, message };
}

export function defined(fn: number = 1): WorkerEvent {
  return said({ op: 'define-worker-function', fn, name: `f${fn}`, spec: new Uint8Array([fn]) });
}

export function ended(
  runs: readonly number[],
  fields: Partial<Omit<RunEnded, 'run'>> = {},
  nowMs: number = 0,
): WorkerEvent {
  return {
    kind: 'runs-ended',
    nowMs,
    ended: runs.map((id) => ({ run: id, sizeBytes: 9, value: null, durationUs: 50, ...fields })),
  };
}

export function aFailure(origin: string = 'f'): Failure {
  return failure('ERR_TASK', 'boom', origin, null, null);
}

/** What a list of instructions tells the scheduler. */
export function messages(instructions: readonly WorkerInstruction[]): readonly WorkerMessage[] {
  return instructions.flatMap((instruction) =>
    instruction.do === 'to-scheduler' ? [instruction.message] : [],
  );
}

/** Instructions of one kind. */
export function only<Kind extends WorkerInstruction['do']>(
  instructions: readonly WorkerInstruction[],
  kind: Kind,
): readonly Extract<WorkerInstruction, { do: Kind }>[] {
  return instructions.filter(
    (instruction): instruction is Extract<WorkerInstruction, { do: Kind }> =>
      instruction.do === kind,
  );
}

/** Slot and run ids of `execute` instructions, in order. */
export function placed(
  instructions: readonly WorkerInstruction[],
): readonly (readonly [slot: number, runs: readonly number[]])[] {
  return only(instructions, 'execute').map((execute: Execute) => [
    execute.slot,
    execute.runs.map((slotRun) => slotRun.run),
  ]);
}

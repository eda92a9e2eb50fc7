import { FarmError, type ResourceAmounts } from '@farm/protocol/core';
import type { TypedArrayKind } from '@farm/protocol/value';

import type { SchedulerContact } from '../executor.ts';

/** What code of a task can find out about the run it is part of, and tell about it. */
export interface TaskContext {
  readonly key: string;
  /** Name of the worker. */
  readonly worker: string;
  /** Number of the execution slot, from 0. */
  readonly slot: number;
  /** Number of this attempt, from 1. */
  readonly attempt: number;
  /** What the run is granted besides threads. */
  readonly resources: ResourceAmounts;
  /**
   * Devices it is granted, by resource: `{ GPU: ['0'] }`. They are called as the worker calls them:
   * by their place among those that it sees, or by the names its `--resources` gives.
   */
  readonly devices: Readonly<Record<string, readonly string[]>>;
  /**
   * Aborts when the task is cancelled (`ERR_CANCELLED`) or has used up its `timeoutMs`
   * (`ERR_TASK_TIMEOUT`); its reason is a FarmError with that code. A task that has looked at its
   * signal has 2 s from then on to clean up and end, whatever it ends with; any other is
   * terminated at once, as is one that blocks its thread.
   */
  readonly signal: AbortSignal;
  /** Where a client of the task's cluster connects to; undefined where that is not known. */
  readonly scheduler: SchedulerContact | undefined;
  /**
   * Gives the slot to other tasks for good, since this one is going to wait for some. It goes on
   * in its thread or process, by turns with the tasks that come there; so it should do little
   * more than wait. Clients in tasks call it when they wait for a result. Calling it again has no
   * effect.
   */
  secede(): void;
  /**
   * Makes a typed array that becomes the task's result without being copied: where the task returns
   * it, all of it and by itself, its memory is handed over. It has no contents afterwards, so a task
   * must not keep it. Any other array is copied, which takes its memory twice for a moment.
   *
   * @param kind - such as `Float64Array`
   * @throws FarmError `ERR_ARGUMENT`
   *
   * @example
   * const values = taskContext().resultArray(Float64Array, 32_000_000);
   * for (let index = 0; index < values.length; index++) values[index] = Math.random();
   * return values;
   */
  resultArray<A extends ArrayBufferView>(kind: TypedArrayKind<A>, length: number): A;
  /** Writes a line to the worker's log, with the key in front. */
  log(...words: readonly unknown[]): void;
  /**
   * Tells how far the task is; written to the worker's log, once a second at most.
   *
   * @param fraction - from 0 to 1
   */
  progress(fraction: number, words?: string): void;
}

/**
 * Where the context of the current run is found: `globalThis[Symbol.for('farm.task')]`. A
 * registered symbol, so that packages a task imports reach it whatever copy of farm they see.
 * Undefined outside a run.
 */
export const TASK_CONTEXT: unique symbol = Symbol.for('farm.task');

/**
 * The context of the task whose code calls this, also after an `await` and in its callbacks.
 * Functions that travel by their source find it under this name without an import.
 *
 * @throws FarmError `ERR_ARGUMENT` outside a task.
 *
 * @example
 * import { taskContext } from '@farm/worker/task';
 * export async function download(url: string): Promise<string> {
 *   const { signal } = taskContext();
 *   return (await fetch(url, { signal })).text();
 * }
 */
export function taskContext(): TaskContext {
  // SAFE: the symbol is farm's own, so nothing else is stored under it.
  const context = (globalThis as { [TASK_CONTEXT]?: TaskContext | undefined })[TASK_CONTEXT];
  if (context !== undefined) return context;
  throw new FarmError(
    'ERR_ARGUMENT',
    'taskContext() was called outside a task: only a function that a worker runs has one',
  );
}

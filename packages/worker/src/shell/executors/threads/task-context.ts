import type { ResourceAmounts } from '@farm/protocol/core';

/** What code of a task can find out about the run it is part of. */
export interface TaskContext {
  readonly key: string;
  /** Number of this attempt, from 1. */
  readonly attempt: number;
  /** What the run is granted besides threads. */
  readonly resources: ResourceAmounts;
}

/**
 * Where the context of the current run is found, in the thread that executes it:
 * `globalThis[Symbol.for('farm.task')]`. A registered symbol, so that packages a task imports reach
 * it whatever copy of farm they see. Undefined outside a run.
 */
export const TASK_CONTEXT: unique symbol = Symbol.for('farm.task');

/** Makes a context the current one; undefined ends it. */
export function setTaskContext(context: TaskContext | undefined): void {
  // SAFE: the symbol is farm's own, so nothing else is stored under it.
  (globalThis as { [TASK_CONTEXT]?: TaskContext | undefined })[TASK_CONTEXT] = context;
}

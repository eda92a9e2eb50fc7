/** What a client knows of the task that it is used in, where that is so. */

/** The part of a task's context that clients use; `TaskContext` of `@farm/worker` has it. */
export interface SurroundingTask {
  readonly key: string;
  readonly worker: string;
  readonly slot: number;
  readonly signal: AbortSignal;
  readonly scheduler: { readonly schedulerFile: string } | { readonly address: string } | undefined;
  secede(): void;
}

/** A worker keeps the context of the current task under this symbol. */
const TASK_CONTEXT: unique symbol = Symbol.for('farm.task');

/** The task whose code executes; undefined in a program that is no worker. */
export function surroundingTask(): SurroundingTask | undefined {
  // SAFE: the symbol is farm's own, and what workers keep there has these fields.
  return (globalThis as { [TASK_CONTEXT]?: SurroundingTask | undefined })[TASK_CONTEXT];
}

/**
 * Called when a wait for a task begins. A task that waits for another one gives its slot to others:
 * the one it waits for may need it.
 */
export function waitsForTask(): void {
  surroundingTask()?.secede();
}

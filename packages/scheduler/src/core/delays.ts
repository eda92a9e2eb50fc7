/** Tasks that are held back until a moment in time: between retries, or until a death is described. */
import type { TaskState } from './state.ts';
import type { Tables } from './tables.ts';
import { review, troubleOf } from './transitions.ts';

/** Longest wait between two retries. */
const RETRY_DELAY_MS_MAX = 600_000;

/** An entry of the table: the task is to be looked at then, unless its delay is another by now. */
export interface Delay {
  readonly dueMs: number;
  readonly task: TaskState;
}

/** Keeps the task waiting until `dueMs`, whatever else would let it run. */
export function delay(tables: Tables, task: TaskState, dueMs: number): void {
  troubleOf(task).delayedUntilMs = dueMs;
  tables.delays.push({ dueMs, task });
}

/** How long to wait before the `retry`th retry, from 1: exponential back-off. */
export function retryDelayMs(firstMs: number, retry: number): number {
  return Math.min(RETRY_DELAY_MS_MAX, firstMs * 2 ** (retry - 1));
}

/** Lets go of the tasks whose time has come; of those that left their delay, drops the entry. */
export function endDelays(tables: Tables): void {
  const { delays, nowMs } = tables;
  for (let head = delays.peek(); head !== undefined; head = delays.peek()) {
    const { task, dueMs } = head;
    const isCurrent = task.trouble?.delayedUntilMs === dueMs;
    if (isCurrent && dueMs > nowMs) return;
    delays.pop();
    if (isCurrent) endDelay(tables, task);
  }
}

/** Lets go of a task. */
export function endDelay(tables: Tables, task: TaskState): void {
  if (task.trouble !== null) task.trouble.delayedUntilMs = null;
  review(tables, task);
}

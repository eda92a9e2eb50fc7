import { failure } from '@farm/protocol/core';
import type { Failure } from '@farm/protocol/core';

import { requirementOf } from './state.ts';
import type { TaskState, WorkerState } from './state.ts';

/** Inputs that every worker is taken to have room for. */
const UNCHECKED_BYTES = 16_777_216;

/** Bytes of all inputs of a task. */
export function inputBytes({ dependencies }: TaskState): number {
  let bytes = 0;
  for (const { size } of dependencies) bytes += size;
  return bytes;
}

/** Whether a worker's memory limit leaves room for that many bytes. */
export function canHold(worker: WorkerState, bytes: number): boolean {
  if (bytes <= UNCHECKED_BYTES) return true;
  const { memoryLimitBytes } = worker.hello;
  return memoryLimitBytes === null || bytes <= memoryLimitBytes;
}

/**
 * Why a task cannot run anywhere: its inputs together are larger than the memory of each worker
 * that fits. Better an error at once than worker after worker that dies of it. Null where one has
 * room, or none is connected.
 */
export function whyTooLarge(task: TaskState): Failure | null {
  if (task.dependencies.length === 0) return null;
  const { fits } = requirementOf(task);
  const bytes = inputBytes(task);
  if (fits.size === 0 || bytes <= UNCHECKED_BYTES) return null;
  let largest: WorkerState | null = null;
  for (const worker of fits) {
    if (canHold(worker, bytes)) return null;
    const limit = largest?.hello.memoryLimitBytes ?? 0;
    if ((worker.hello.memoryLimitBytes ?? 0) > limit) largest = worker;
  }
  const { key } = task;
  const limit = largest?.hello.memoryLimitBytes ?? 0;
  const why =
    `the inputs of ${key} take ${bytes} bytes together, and the largest memory limit of the ` +
    `${fits.size} workers that fit is ${limit} bytes (${largest?.name ?? 'none'}): split the ` +
    'task, or start a worker with a larger --memory-limit';
  return failure('ERR_NO_WORKER', why, key, null, null);
}

import { hasItem } from './collections/one-or-many.ts';
import type { TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** How long it takes to bring a result to a worker that has it not. */
export function transferUs({ config }: Tables, { size, valueAt }: TaskState): number {
  const bytesUs = (size * 1_000_000) / config.bandwidthBytesPerS;
  // Kept values come along with the run.
  return valueAt >= 0 ? bytesUs : bytesUs + config.transferLatencyMs * 1_000;
}

/** How long it takes to bring the inputs of a task to a worker. */
export function bringUs(tables: Tables, { dependencies }: TaskState, worker: WorkerState): number {
  let us = 0;
  for (const input of dependencies) {
    if (!hasItem(input.holders, worker)) us += transferUs(tables, input);
  }
  return us;
}

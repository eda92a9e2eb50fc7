/** Where results are: on workers, and small ones as values kept here. */
import { invariant } from '@farm/protocol/core';

import { findTask } from './blocks.ts';
import { eachItem, withItem, withoutItem } from './collections/one-or-many.ts';
import { recordsOf, WorkerState } from './state.ts';
import type { Block, TaskState } from './state.ts';
import type { Tables } from './tables.ts';
import { ValueArena } from './values.ts';

/** The worker has the task's result. */
export function addHolder(task: TaskState, worker: WorkerState): void {
  if (!worker.holds.add(task.number)) return;
  task.holders = withItem(task.holders, worker);
  worker.heldBytes += task.size;
}

/** The worker has it no more. */
export function removeHolder(task: TaskState, worker: WorkerState): void {
  if (!worker.holds.delete(task.number)) return;
  task.holders = withoutItem(task.holders, worker);
  worker.heldBytes -= task.size;
}

/** Tasks whose results the worker has. Takes time for each. */
export function heldBy(tables: Tables, { name, holds }: WorkerState): TaskState[] {
  return [...holds].map((number) => {
    const task = findTask(tables, number);
    invariant(task !== undefined, `${name} holds a result of task ${number}, which is unknown`);
    return task;
  });
}

/** Whether the result is anywhere. */
export function isHeld(task: TaskState): boolean {
  return task.holders !== null || task.valueAt >= 0;
}

/** Keeps a copy of a value for later dependents and clients, while all kept ones have room. */
export function keepValue(
  tables: Tables,
  task: TaskState,
  bytes: Uint8Array,
  start: number,
  end: number,
): void {
  if (task.valueAt >= 0 || !tables.values.take(end - start)) return;
  const { block } = task;
  block.values ??= new ValueArena(block.count, tables.lone);
  task.valueAt = block.values.add(bytes, start, end);
}

/** The kept value; null where there is none. */
export function valueOf(task: TaskState): Uint8Array | null {
  if (task.valueAt < 0) return null;
  return task.block.values?.get(task.valueAt, task.size) ?? null;
}

/** Drops the result everywhere. */
export function freeResult(tables: Tables, task: TaskState): void {
  const { holders } = task;
  // Most have one, and need no iterator.
  if (holders instanceof WorkerState) freeCopy(tables, task, holders);
  else for (const worker of eachItem(holders)) freeCopy(tables, task, worker);
  task.holders = null;
  dropValue(tables, task);
}

function freeCopy({ outbox }: Tables, task: TaskState, worker: WorkerState): void {
  const { number } = task;
  worker.holds.delete(number);
  worker.heldBytes -= task.size;
  outbox.free(worker, number);
}

function dropValue(tables: Tables, task: TaskState): void {
  const { block, size } = task;
  if (task.valueAt < 0 || block.values === null) return;
  task.valueAt = -1;
  tables.values.giveBack(size);
  block.values.remove(size);
  if (block.values.isSparse) compactValues(tables, block, block.values);
}

function compactValues({ lone }: Tables, block: Block, sparse: ValueArena): void {
  const packed = new ValueArena(block.count, lone);
  for (const task of recordsOf(block)) {
    if (task === undefined || task.valueAt < 0) continue;
    const value = sparse.get(task.valueAt, task.size);
    task.valueAt = packed.add(value, 0, task.size);
  }
  block.values = packed;
}

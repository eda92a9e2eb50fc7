/** Shared values, and the futures in them. */
import { LIMITS } from '@farm/protocol/core';
import type {
  Failure,
  ReceivedItem,
  ReceivedItems,
  ReservedIds,
  SharedItem,
} from '@farm/protocol/core';

import type { TaskState } from '../state.ts';
import { addWant, taskOf } from '../submission.ts';
import type { Tables } from '../tables.ts';
import { review } from '../transitions.ts';
import { answer, problem, refuse } from './answers.ts';
import type { Caller } from './answers.ts';

/** A value that is kept; the tasks in it stay wanted while it is. */
export interface KeptItem {
  readonly value: Uint8Array;
  /** In order of reference. */
  readonly tasks: readonly TaskState[];
}

/** What all kept values take together, and the tasks in them. */
export class KeptItems {
  /** How many times each task is in a kept value; all those times it is wanted once. */
  readonly uses: Map<TaskState, number> = new Map();
  /** Bytes of all kept values. */
  bytes = 0;
}

/** Whether a value is small enough to be shared, now. */
export function bytesProblem(tables: Tables, what: string, size: number): Failure | null {
  if (size > LIMITS.sharedValueBytesMax) {
    const why =
      `${what}: a shared value may have ${LIMITS.sharedValueBytesMax} bytes ` +
      `(sharedValueBytesMax), this one has ${size}: share large data as a future`;
    return problem('ERR_LIMIT', why);
  }
  const { bytes } = tables.coordination.items;
  if (bytes + size <= LIMITS.sharedTotalBytesMax) return null;
  const why =
    `${what}: shared values take ${bytes} bytes, ${size} more are too many (sharedTotalBytesMax): ` +
    'take some away, or share large data as futures';
  return problem('ERR_LIMIT', why);
}

/** Keeps bytes that came; the caller has checked them with {@link bytesProblem}. */
export function keepBytes(tables: Tables, value: Uint8Array): Uint8Array {
  tables.coordination.items.bytes += value.byteLength;
  // A view of what arrived would keep the whole frame.
  return new Uint8Array(value);
}

/** Lets go of them. */
export function dropBytes(tables: Tables, value: Uint8Array): void {
  tables.coordination.items.bytes -= value.byteLength;
}

/** Takes a value in, or says why not. */
export function keepItem(
  tables: Tables,
  holder: string,
  what: string,
  { value, futures }: SharedItem,
): KeptItem | Failure {
  const tooLarge = bytesProblem(tables, what, value.byteLength);
  if (tooLarge !== null) return tooLarge;
  if (futures.length > LIMITS.sharedFuturesMax) {
    const why = `${what}: ${futures.length} futures are too many for one value (sharedFuturesMax)`;
    return problem('ERR_LIMIT', why);
  }
  const client = tables.clients.get(holder);
  const tasks: TaskState[] = [];
  for (const id of futures) {
    const task = client === undefined ? null : taskOf(client, id);
    if (task === null) {
      const why =
        `${what}: a future in the value is not this client's (any more): keep futures unreleased ` +
        'until they are shared';
      return problem('ERR_FOREIGN_FUTURE', why);
    }
    tasks.push(task);
  }
  const { items } = tables.coordination;
  for (const task of tasks) {
    const uses = items.uses.get(task) ?? 0;
    items.uses.set(task, uses + 1);
    if (uses === 0) task.wants = [...(task.wants ?? []), { client: null, id: -1 }];
  }
  return { value: keepBytes(tables, value), tasks };
}

/** Lets go of a value: tasks that nobody else wants are released. */
export function dropItem(tables: Tables, { value, tasks }: KeptItem): void {
  dropBytes(tables, value);
  const { items } = tables.coordination;
  for (const task of tasks) {
    const uses = (items.uses.get(task) ?? 0) - 1;
    if (uses > 0) {
      items.uses.set(task, uses);
      continue;
    }
    items.uses.delete(task);
    const left = task.wants?.filter((want) => want.client !== null) ?? [];
    task.wants = left.length === 0 ? null : left;
    review(tables, task);
  }
}

/** Whether what was taken in is a value, and no reason why not. */
export function isKept(item: KeptItem | Failure): item is KeptItem {
  return 'tasks' in item;
}

/**
 * Answers a request with values; the asker gets futures of its own for the tasks in them.
 *
 * @returns Whether it got them. If not it was told why, and nothing has changed.
 */
export function handOut(
  tables: Tables,
  caller: Caller,
  items: readonly KeptItem[],
  { first, count }: ReservedIds,
): boolean {
  const client = tables.clients.get(caller.holder);
  if (client === undefined) return false;
  const needed = items.reduce((sum, { tasks }) => sum + tasks.length, 0);
  if (needed > count) {
    answer(tables, caller, { items: [], needed } satisfies ReceivedItems);
    return false;
  }
  const isTaken = needed > 0 && client.futures.overlapping(first, needed).length > 0;
  if (isTaken || first + needed > 2 ** 32) {
    const why = `futures ${first} to ${first + needed - 1} are in use: reserve others`;
    refuse(tables, caller, problem('ERR_ARGUMENT', why));
    return false;
  }
  let id = first;
  const received = items.map(({ value, tasks }): ReceivedItem => {
    return { value, ids: tasks.map(() => id++), keys: tasks.map(({ key }) => key) };
  });
  answer(tables, caller, { items: received, needed: null } satisfies ReceivedItems);
  id = first;
  for (const { tasks } of items) for (const task of tasks) addWant(tables, client, task, id++);
  return true;
}

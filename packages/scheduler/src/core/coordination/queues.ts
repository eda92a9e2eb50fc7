/** Queues: items that one session puts and another gets, in order. */
import { LIMITS } from '@farm/protocol/core';
import type { ReservedIds, SharedItem } from '@farm/protocol/core';

import { Fifo } from '../collections/fifo.ts';
import type { Tables } from '../tables.ts';
import { answer, nameProblem, problem, refuse, wait } from './answers.ts';
import type { Caller } from './answers.ts';
import { dropItem, handOut, isKept, keepItem } from './items.ts';
import type { KeptItem } from './items.ts';
import type { Waiter } from './waiting.ts';

/** A queue with items in it, or with somebody who waits for some. */
export interface SharedQueue {
  /** More than this wait to be put; null means no bound of its own. */
  sizeMax: number | null;
  readonly items: Fifo<KeptItem>;
  /** What waits for room, in order. */
  readonly putting: Map<Waiter, KeptItem>;
  /** Who waits for items, in order: the first is served first, whatever it asked for. */
  readonly getting: Map<Waiter, QueueGet>;
}

/** What a get asks for. */
export interface QueueGet {
  readonly min: number;
  readonly max: number;
  readonly ids: ReservedIds;
}

/** What a put asks for. */
export interface QueuePut {
  readonly name: string;
  readonly item: SharedItem;
  readonly sizeMax: number | null;
  readonly timeoutMs: number | null;
}

/** Puts an item at the end, once there is room. */
export function putItem(tables: Tables, caller: Caller, wish: QueuePut): void {
  const { name, item, sizeMax, timeoutMs } = wish;
  const { queues } = tables.coordination;
  const what = `queue ${name}`;
  const present = queues.get(name);
  const wrong = findProblem(present, what, sizeMax) ?? nameProblem(queues, 'queue', name);
  const kept = wrong ?? keepItem(tables, caller.holder, what, item);
  if (!isKept(kept)) {
    refuse(tables, caller, kept);
    return;
  }
  const queue = present ?? add(tables, name);
  queue.sizeMax ??= sizeMax;
  if (queue.items.size < (queue.sizeMax ?? Infinity)) {
    queue.items.push(kept);
    answer(tables, caller, null);
    serve(tables, name, queue);
    return;
  }
  const leave = (): void => {
    if (waiter !== null) queue.putting.delete(waiter);
    dropItem(tables, kept);
  };
  const waiter = wait(tables, caller, { what, timeoutMs, isFalseWhenLate: false, leave });
  if (waiter === null) {
    leave();
    return;
  }
  queue.putting.set(waiter, kept);
  // Who waits for more items than fit gets those that wait for room with them.
  serve(tables, name, queue);
}

/** Takes items from the front, once enough are there. */
export function getItems(
  tables: Tables,
  caller: Caller,
  wish: QueueGet & { readonly name: string; readonly timeoutMs: number | null },
): void {
  const { name, min, max, timeoutMs } = wish;
  const { queues } = tables.coordination;
  const what = `queue ${name}`;
  if (max < 1 || min > max || min > LIMITS.queueItemsMax) {
    const why = `${what}: ${min} to ${max} items cannot be got`;
    refuse(tables, caller, problem('ERR_ARGUMENT', why));
    return;
  }
  const wrong = nameProblem(queues, 'queue', name);
  if (wrong !== null) {
    refuse(tables, caller, wrong);
    return;
  }
  const queue = queues.get(name) ?? add(tables, name);
  if (queue.getting.size === 0 && count(queue) >= min) {
    take(tables, caller, queue, wish);
    forgetUnused(tables, name, queue);
    return;
  }
  const leave = (): void => {
    if (waiter !== null) queue.getting.delete(waiter);
    serve(tables, name, queue);
  };
  const waiter = wait(tables, caller, { what, timeoutMs, isFalseWhenLate: false, leave });
  if (waiter === null) leave();
  else queue.getting.set(waiter, wish);
}

/** How many items are in a queue. */
export function queueSize(tables: Tables, name: string): number {
  return tables.coordination.queues.get(name)?.items.size ?? 0;
}

/** Forgets a queue and what is in it; those who wait are refused. */
export function closeQueue(tables: Tables, name: string): void {
  const { queues, waiting } = tables.coordination;
  const queue = queues.get(name);
  if (queue === undefined) return;
  const why = problem('ERR_CLOSED', `queue ${name} was closed`);
  for (const waiter of [...queue.getting.keys(), ...queue.putting.keys()]) {
    waiting.delete(waiter);
    refuse(tables, waiter, why);
  }
  for (const item of [...queue.items, ...queue.putting.values()]) dropItem(tables, item);
  queues.delete(name);
}

/** Items that can be got: those that wait for room count, since there is room once some are. */
function count({ items, putting }: SharedQueue): number {
  return items.size + putting.size;
}

/** Gives those who wait what they wait for, in order. */
function serve(tables: Tables, name: string, queue: SharedQueue): void {
  for (const [waiter, wish] of queue.getting) {
    if (count(queue) < wish.min) break;
    queue.getting.delete(waiter);
    tables.coordination.waiting.delete(waiter);
    take(tables, waiter, queue, wish);
  }
  forgetUnused(tables, name, queue);
}

function take(tables: Tables, caller: Caller, queue: SharedQueue, { max, ids }: QueueGet): void {
  const found = queue.items.peek(max);
  if (found.length < max) {
    for (const item of queue.putting.values()) {
      if (found.length === max) break;
      found.push(item);
    }
  }
  if (!handOut(tables, caller, found, ids)) return;
  let left = found.length;
  while (left > 0 && queue.items.shift() !== undefined) left -= 1;
  for (const [waiter, item] of queue.putting) {
    if (left === 0 && queue.items.size >= (queue.sizeMax ?? Infinity)) break;
    queue.putting.delete(waiter);
    tables.coordination.waiting.delete(waiter);
    answer(tables, waiter, null);
    if (left > 0) left -= 1;
    else queue.items.push(item);
  }
  for (const item of found) dropItem(tables, item);
}

function forgetUnused(tables: Tables, name: string, queue: SharedQueue): void {
  const { queues } = tables.coordination;
  if (count(queue) === 0 && queue.getting.size === 0 && queues.get(name) === queue) {
    queues.delete(name);
  }
}

function findProblem(
  queue: SharedQueue | undefined,
  what: string,
  sizeMax: number | null,
): ReturnType<typeof nameProblem> {
  if (sizeMax !== null && (sizeMax < 1 || sizeMax > LIMITS.queueItemsMax)) {
    const why = `${what}: a queue has room for 1 to ${LIMITS.queueItemsMax} items, not ${sizeMax}`;
    return problem('ERR_ARGUMENT', why);
  }
  if (queue === undefined) return null;
  const { sizeMax: present } = queue;
  if (sizeMax !== null && present !== null && sizeMax !== present) {
    const why = `${what} has room for ${present} items while it is in use, not ${sizeMax}`;
    return problem('ERR_ARGUMENT', why);
  }
  if (queue.items.size < LIMITS.queueItemsMax || present !== null) return null;
  return problem('ERR_LIMIT', `${what} has ${queue.items.size} items (queueItemsMax)`);
}

function add(tables: Tables, name: string): SharedQueue {
  const queue: SharedQueue = {
    sizeMax: null,
    items: new Fifo(),
    putting: new Map(),
    getting: new Map(),
  };
  tables.coordination.queues.set(name, queue);
  return queue;
}

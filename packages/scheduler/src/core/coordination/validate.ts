import { invariant, LIMITS } from '@farm/protocol/core';

import type { TaskState } from '../state.ts';
import type { Tables } from '../tables.ts';
import type { KeptItem } from './items.ts';
import { entriesOf } from './metadata.ts';
import type { Semaphore } from './semaphores.ts';
import type { Waiter } from './waiting.ts';

/**
 * Checks what must hold of shared state between two `handle`s.
 *
 * @throws FarmError `ERR_INTERNAL` naming what does not hold.
 */
export function validateCoordination(tables: Tables): void {
  const { coordination, clients } = tables;
  const { waiting, items } = coordination;
  const inLine = new Set<Waiter>();
  const kept: KeptItem[] = [...coordination.datasets.values()];
  let bytes = 0;
  for (const table of [coordination.locks, coordination.semaphores]) {
    for (const semaphore of table.values()) {
      validateSemaphore(tables, semaphore);
      for (const { waiter } of semaphore.line.values()) inLine.add(waiter);
    }
  }
  for (const [name, { isSet, line }] of coordination.events) {
    invariant(isSet ? line.size === 0 : line.size > 0, `event ${name}: set ${isSet}, waited for`);
    for (const waiter of line) inLine.add(waiter);
  }
  for (const [name, queue] of coordination.queues) {
    const { sizeMax, putting, getting } = queue;
    const count = queue.items.size + putting.size;
    invariant(count + getting.size > 0, `queue ${name} is of no use`);
    const isFull = queue.items.size >= (sizeMax ?? Infinity);
    invariant(putting.size === 0 || isFull, `queue ${name} has room, and somebody waits for it`);
    const [first] = getting.values();
    invariant(first === undefined || count < first.min, `queue ${name} could serve the first`);
    for (const waiter of putting.keys()) inLine.add(waiter);
    for (const waiter of getting.keys()) inLine.add(waiter);
    for (const item of queue.items) kept.push(item);
    for (const item of putting.values()) kept.push(item);
  }
  for (const [name, { item, line }] of coordination.variables) {
    invariant((item === null) === line.size > 0, `variable ${name}: ${line.size} wait`);
    if (item !== null) kept.push(item);
    for (const waiter of line.keys()) inLine.add(waiter);
  }
  for (const [name, { history, subscribers }] of coordination.topics) {
    invariant(history.size + subscribers.size > 0, `topic ${name} is of no use`);
    for (const { value } of history) bytes += value.byteLength;
    for (const holder of subscribers) invariant(clients.has(holder), `topic ${name}: ${holder}`);
  }
  const metadata = entriesOf(coordination.metadata, []);
  for (const { value } of metadata) bytes += value.byteLength;
  invariant(metadata.length === coordination.metadataCount, `${metadata.length} metadata`);
  for (const { value } of kept) bytes += value.byteLength;
  invariant(bytes === items.bytes, `shared values of ${bytes} bytes, counted ${items.bytes}`);
  invariant(bytes <= LIMITS.sharedTotalBytesMax, `shared values of ${bytes} bytes`);
  validateKeeper(tables, kept);
  let waiters = 0;
  for (const holder of waiting.holders()) {
    invariant(clients.has(holder), `${holder} is gone and waits`);
    for (const waiter of waiting.of(holder)) {
      waiters += 1;
      invariant(inLine.has(waiter), `request ${waiter.request} of ${holder} stands in no line`);
      invariant(waiter.deadlineMs > tables.nowMs, `request ${waiter.request} is overdue`);
      invariant(waiter.deadlineMs >= waiting.earliestMs, `request ${waiter.request}: deadline`);
    }
  }
  invariant(waiters === inLine.size, `${inLine.size} stand in line, ${waiters} wait`);
  if (clients.size > 0) return;
  const { locks, semaphores, events, queues, topics } = coordination;
  const left = locks.size + semaphores.size + events.size + queues.size + topics.size;
  invariant(left === 0, `${left} shared objects outlived all clients`);
}

function validateSemaphore({ clients }: Tables, semaphore: Semaphore): void {
  const { kind, name, leases, leasesMax, held, line } = semaphore;
  let found = 0;
  for (const [holder, numbers] of leases) {
    invariant(clients.has(holder), `${kind} ${name} is held by ${holder}, which is gone`);
    invariant(numbers.size > 0, `${kind} ${name} is held by ${holder} no times`);
    found += numbers.size;
  }
  invariant(found === held, `${kind} ${name}: ${found} leases, counted ${held}`);
  invariant(held > 0 && held <= leasesMax, `${kind} ${name}: ${held} of ${leasesMax} leases`);
  invariant(line.size === 0 || held === leasesMax, `${kind} ${name} is free and waited for`);
}

function validateKeeper({ coordination }: Tables, kept: readonly KeptItem[]): void {
  const { uses } = coordination.items;
  const found = new Map<TaskState, number>();
  for (const { tasks } of kept) {
    for (const task of tasks) found.set(task, (found.get(task) ?? 0) + 1);
  }
  invariant(found.size === uses.size, `${found.size} tasks are in shared values, not ${uses.size}`);
  for (const [task, count] of found) {
    invariant(uses.get(task) === count, `${task.key} is in ${count} shared values`);
    const wants = task.wants?.filter(({ client }) => client === null).length ?? 0;
    invariant(wants === 1 && task.state !== 'released', `${task.key} is shared and not wanted`);
  }
}

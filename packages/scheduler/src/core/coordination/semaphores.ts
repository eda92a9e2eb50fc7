/**
 * Semaphores, and locks, which are semaphores with one lease. A lease belongs to the session that
 * acquired it and ends with it: nobody is locked out by a holder that died, and no holder that
 * lives can lose a lease to a timer, so there are never two holders of one lock.
 */
import { LIMITS } from '@farm/protocol/core';
import type { Failure } from '@farm/protocol/core';

import type { Tables } from '../tables.ts';
import { answer, nameProblem, problem, refuse, wait } from './answers.ts';
import type { Caller } from './answers.ts';
import type { Waiter } from './waiting.ts';

/** What a semaphore is called in messages. */
export type SemaphoreKind = 'lock' | 'semaphore';

/** Leases that are out, and who waits for one. */
export interface Semaphore {
  readonly kind: SemaphoreKind;
  readonly name: string;
  readonly leasesMax: number;
  /** Numbers of the leases each session has. */
  readonly leases: Map<string, Set<number>>;
  /** How many leases are out. */
  held: number;
  /** In order of arrival, by session and number of the lease. */
  readonly line: Map<string, { readonly waiter: Waiter; readonly lease: number }>;
}

/** What an acquire asks for. */
export interface Acquire {
  readonly name: string;
  readonly lease: number;
  readonly leasesMax: number;
  readonly timeoutMs: number | null;
}

/** Gives a lease, now or when it is the asker's turn. A lease that it has is given again. */
export function acquire(tables: Tables, kind: SemaphoreKind, caller: Caller, wish: Acquire): void {
  const { name, lease, leasesMax, timeoutMs } = wish;
  const { holder } = caller;
  const table = tableOf(tables, kind);
  const what = `${kind} ${name}`;
  const semaphore = table.get(name);
  if (semaphore?.leases.get(holder)?.has(lease) === true) {
    answer(tables, caller, true);
    return;
  }
  const wrong = findProblem(semaphore, what, leasesMax) ?? nameProblem(table, kind, name);
  if (wrong !== null) {
    refuse(tables, caller, wrong);
    return;
  }
  if (semaphore === undefined || semaphore.held < semaphore.leasesMax) {
    give(semaphore ?? add(table, kind, name, leasesMax), holder, lease);
    answer(tables, caller, true);
    return;
  }
  const place = placeOf(holder, lease);
  if (semaphore.line.has(place)) {
    refuse(
      tables,
      caller,
      problem('ERR_ARGUMENT', `${what}: lease ${lease} is waited for already`),
    );
    return;
  }
  const leave = (): void => {
    semaphore.line.delete(place);
  };
  const waiter = wait(tables, caller, { what, timeoutMs, isFalseWhenLate: true, leave });
  if (waiter !== null) semaphore.line.set(place, { waiter, lease });
}

/** Takes a lease back; one that is only waited for is withdrawn, and its request answered false. */
export function releaseLease(
  tables: Tables,
  kind: SemaphoreKind,
  caller: Caller,
  { name, lease }: { readonly name: string; readonly lease: number },
): void {
  const { holder } = caller;
  const semaphore = tableOf(tables, kind).get(name);
  const waiting = semaphore?.line.get(placeOf(holder, lease));
  if (semaphore !== undefined && waiting !== undefined) {
    tables.coordination.waiting.delete(waiting.waiter);
    waiting.waiter.leave();
    answer(tables, waiting.waiter, false);
  } else if (semaphore === undefined || !takeBack(semaphore, holder, lease)) {
    const why = `${kind} ${name}: lease ${lease} is not held by this client (any more)`;
    refuse(tables, caller, problem('ERR_ARGUMENT', why));
    return;
  }
  answer(tables, caller, null);
  advance(tables, semaphore);
}

/** How many leases are out. */
export function leasesHeld(tables: Tables, kind: SemaphoreKind, name: string): number {
  return tableOf(tables, kind).get(name)?.held ?? 0;
}

/** A session is gone, and its leases with it. */
export function dropLeases(tables: Tables, holder: string): void {
  const { locks, semaphores } = tables.coordination;
  for (const table of [locks, semaphores]) {
    for (const semaphore of table.values()) {
      const leases = semaphore.leases.get(holder);
      if (leases === undefined) continue;
      semaphore.held -= leases.size;
      semaphore.leases.delete(holder);
      advance(tables, semaphore);
    }
  }
}

/** Those first in line get what is free; a semaphore that is of no use is forgotten. */
function advance(tables: Tables, semaphore: Semaphore): void {
  const { kind, name, line } = semaphore;
  for (const [place, { waiter, lease }] of line) {
    if (semaphore.held >= semaphore.leasesMax) break;
    line.delete(place);
    tables.coordination.waiting.delete(waiter);
    give(semaphore, waiter.holder, lease);
    answer(tables, waiter, true);
  }
  if (semaphore.held === 0) tableOf(tables, kind).delete(name);
}

function give(semaphore: Semaphore, holder: string, lease: number): void {
  const leases = semaphore.leases.get(holder);
  if (leases === undefined) semaphore.leases.set(holder, new Set([lease]));
  else leases.add(lease);
  semaphore.held += 1;
}

function takeBack(semaphore: Semaphore, holder: string, lease: number): boolean {
  const leases = semaphore.leases.get(holder);
  if (leases?.delete(lease) !== true) return false;
  if (leases.size === 0) semaphore.leases.delete(holder);
  semaphore.held -= 1;
  return true;
}

function findProblem(
  semaphore: Semaphore | undefined,
  what: string,
  leasesMax: number,
): Failure | null {
  if (leasesMax < 1) {
    const why = `${what}: ${leasesMax} leases are none: give a whole number from 1`;
    return problem('ERR_ARGUMENT', why);
  }
  if (leasesMax > LIMITS.semaphoreLeasesMax) {
    return problem('ERR_LIMIT', `${what}: ${leasesMax} leases are too many (semaphoreLeasesMax)`);
  }
  if (semaphore === undefined || semaphore.leasesMax === leasesMax) return null;
  const why = `${what} has ${semaphore.leasesMax} leases while it is in use, not ${leasesMax}`;
  return problem('ERR_ARGUMENT', why);
}

function add(
  table: Map<string, Semaphore>,
  kind: SemaphoreKind,
  name: string,
  leasesMax: number,
): Semaphore {
  const leases = new Map<string, Set<number>>();
  const semaphore: Semaphore = { kind, name, leasesMax, leases, held: 0, line: new Map() };
  table.set(name, semaphore);
  return semaphore;
}

function tableOf({ coordination }: Tables, kind: SemaphoreKind): Map<string, Semaphore> {
  return kind === 'lock' ? coordination.locks : coordination.semaphores;
}

function placeOf(holder: string, lease: number): string {
  return `${lease} ${holder}`;
}

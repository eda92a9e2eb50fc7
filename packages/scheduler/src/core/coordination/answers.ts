/** Who asks for shared state, and how they are answered: at once, or later. */
import { failure, LIMITS, reply } from '@farm/protocol/core';
import type { ErrorCode, Failure } from '@farm/protocol/core';

import type { Tables } from '../tables.ts';
import type { Waiter } from './waiting.ts';

/** A request of a session. */
export interface Caller {
  /** The session: what it holds ends with it. */
  readonly holder: string;
  readonly request: number;
}

/** Answers a request; dropped where the session is gone. */
export function answer(tables: Tables, { holder, request }: Caller, value: unknown): void {
  const client = tables.clients.get(holder);
  if (client !== undefined) tables.outbox.toClient(client, reply(request, value, null));
}

/** Refuses a request. */
export function refuse(tables: Tables, { holder, request }: Caller, why: Failure): void {
  const client = tables.clients.get(holder);
  if (client !== undefined) tables.outbox.toClient(client, reply(request, null, why));
}

/** A failure that is no task's. */
export function problem(code: ErrorCode, message: string): Failure {
  return failure(code, message, '', null, null);
}

/** Whether one more name is too many of a kind. */
export function nameProblem(
  names: ReadonlyMap<string, unknown>,
  kind: string,
  name: string,
): Failure | null {
  if (names.has(name) || names.size < LIMITS.sharedNamesMax) return null;
  const why = `${kind} ${name}: there are ${names.size} ${kind}s already (sharedNamesMax)`;
  return problem('ERR_LIMIT', why);
}

/** What {@link wait} is told of a request. */
export interface Patience {
  /** What it waits for, for messages: `lock results`. */
  readonly what: string;
  readonly timeoutMs: number | null;
  /** Whether being too late is answered by false, not by an error. */
  readonly isFalseWhenLate: boolean;
  /** See {@link Waiter}. */
  readonly leave: () => void;
}

/**
 * Has a request wait. Returns its waiter, to be put into a line; or null where it was answered,
 * since it may not wait at all or too many do.
 */
export function wait(tables: Tables, caller: Caller, patience: Patience): Waiter | null {
  const { waiting } = tables.coordination;
  const { holder, request } = caller;
  const { what, timeoutMs, isFalseWhenLate, leave } = patience;
  const waiter: Waiter = {
    holder,
    request,
    deadlineMs: timeoutMs === null ? Infinity : tables.nowMs + timeoutMs,
    lateBecause: isFalseWhenLate ? null : `${what}: nothing came within ${timeoutMs} ms`,
    leave,
  };
  if (timeoutMs === 0) {
    giveUp(tables, waiter);
    return null;
  }
  if (waiting.count(holder) >= LIMITS.sharedWaitingMax) {
    const why = `${what}: ${waiting.count(holder)} requests wait already (sharedWaitingMax)`;
    refuse(tables, caller, problem('ERR_LIMIT', why));
    return null;
  }
  waiting.add(waiter);
  return waiter;
}

/** Those whose deadline has come are told so. */
export function expireWaiting(tables: Tables): void {
  const { waiting } = tables.coordination;
  if (waiting.earliestMs > tables.nowMs) return;
  for (const waiter of waiting.overdue(tables.nowMs)) {
    // One that leaves may let another pass that was due as well.
    if (!waiting.delete(waiter)) continue;
    giveUp(tables, waiter);
    waiter.leave();
  }
}

function giveUp(tables: Tables, waiter: Waiter): void {
  if (waiter.lateBecause === null) answer(tables, waiter, false);
  else refuse(tables, waiter, problem('ERR_TIMEOUT', waiter.lateBecause));
}

import { setTimeout as delay } from 'node:timers/promises';

import { FarmError, failure } from '@farm/protocol';
import { decodeValue } from '@farm/protocol/value';

import { Deadline, type WaitLimits } from './deadline.ts';
import { errorOf } from './failures.ts';
import type { FutureLocation } from './future-location.ts';
import type { Watcher } from './future-table.ts';
import { TransferFailed } from './result-fetch.ts';
import type { Session } from './session.ts';

/** Attempts to fetch one result before the scheduler's reason is passed on. */
const ATTEMPTS_MAX = 10;
const BACKOFF_MS_FIRST = 20;
const BACKOFF_MS_MAX = 2_000;

/** Waits for a future and decodes its result, or rejects with why there is none. */
export async function resultOf(at: FutureLocation, limits: WaitLimits): Promise<unknown> {
  using _ = at.session.hold();
  using deadline = new Deadline(limits, () => `${at.future.key}: there was no result`);
  await whenSettled(at, deadline);
  return await deadline.race(settledResult(at));
}

/** Waits for a future and gives what its task failed with, if it did. */
export async function exceptionOf(
  at: FutureLocation,
  limits: WaitLimits,
): Promise<Error | undefined> {
  using _ = at.session.hold();
  using deadline = new Deadline(limits, () => `${at.future.key}: the task did not end`);
  await whenSettled(at, deadline);
  return at.session.table.isFinished(at.id) ? undefined : reasonOf(at);
}

/** The result of a future that is no longer pending: at hand, or fetched. */
export async function settledResult(at: FutureLocation): Promise<unknown> {
  const { session, id } = at;
  for (let attempt = 1; ; attempt += 1) {
    // A result that got lost is computed again: the future is pending again then.
    await whenSettled(at);
    const task = session.table.finished(id);
    if (task === undefined) throw reasonOf(at);
    if (task.value !== null) return decodeValue(task.value);
    const bytes = await fetchOnce(session, id, task.sizeBytes);
    if (bytes instanceof Uint8Array) return decodeValue(bytes);
    if (attempt === ATTEMPTS_MAX) throw giveUp(bytes, at.future.key);
    await delay(Math.min(BACKOFF_MS_FIRST * 2 ** (attempt - 1), BACKOFF_MS_MAX));
  }
}

/** Why a future that is settled has no result. */
export function reasonOf(at: FutureLocation): Error {
  const { key } = at.future;
  const why = at.session.table.failure(at.id);
  if (why !== undefined) return errorOf(why, key, at.site);
  return new FarmError('ERR_FOREIGN_FUTURE', `${key}: the future was released`, { key });
}

/** Resolves when a future is no longer pending. */
export async function whenSettled(at: FutureLocation, deadline?: Deadline): Promise<void> {
  const { table } = at.session;
  if (!table.isPending(at.id)) return;
  const { promise, resolve } = Promise.withResolvers<void>();
  // Holds the future too: while somebody waits for it, it is not garbage.
  const watcher: Watcher & FutureLocation = { ...at, settled: () => resolve() };
  table.watch(at.id, watcher);
  await (deadline?.race(promise, () => table.unwatch(at.id, watcher)) ?? promise);
}

async function fetchOnce(
  session: Session,
  id: number,
  sizeBytes: number,
): Promise<Uint8Array | TransferFailed> {
  try {
    session.assertOpen();
    return await session.fetcher.fetch(id, sizeBytes);
  } catch (error) {
    if (error instanceof TransferFailed) return error;
    throw error;
  }
}

function giveUp(failed: TransferFailed, key: string): Error {
  const why = failed.failure ?? failure('ERR_LOST_DATA', failed.message, key, null, null);
  return errorOf(why, key);
}

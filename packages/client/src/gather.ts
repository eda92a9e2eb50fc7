import { setImmediate as nextTick } from 'node:timers/promises';

import { FarmError } from '@farm/protocol';
import { decodeValue } from '@farm/protocol/value';

import { Deadline } from './deadline.ts';
import { futuresIn, substitute } from './containers.ts';
import type { Watcher } from './future-table.ts';
import { Future } from './future.ts';
import { reasonOf, settledResult, whenSettled } from './results.ts';
import type { Session } from './session.ts';
import type { Gathered, GatheredSkipping } from './types.ts';

/** Options of `gather`. */
export interface GatherOptions {
  /**
   * What a failed task does: `raise` rejects with its error as soon as it is known, `skip` leaves
   * the future out of the containers it is in.
   * @default 'raise'
   */
  readonly errors?: 'raise' | 'skip';
}

/** Results decoded before others get a turn on the event loop. */
const DECODED_PER_TURN = 10_000;
/** Results fetched at one time. */
const FETCHED_MAX = 128;

/**
 * Waits for all futures inside nested arrays, objects, Maps and Sets, and gives the same containers
 * with their results. A million futures are no problem.
 *
 * @example
 * await gather({ mean: future, parts: [one, two] }); // { mean: 3, parts: [1, 5] }
 */
export function gather<T>(nested: T, options?: { readonly errors?: 'raise' }): Promise<Gathered<T>>;
export function gather<T>(
  nested: T,
  options: { readonly errors: 'skip' },
): Promise<GatheredSkipping<T>>;
export function gather<T>(
  nested: T,
  options?: GatherOptions,
): Promise<Gathered<T> | GatheredSkipping<T>>;
export async function gather(nested: unknown, options: GatherOptions = {}): Promise<unknown> {
  const { errors = 'raise' } = options;
  if (errors !== 'raise' && errors !== 'skip') {
    throw new FarmError(
      'ERR_ARGUMENT',
      `gather: errors is 'raise' or 'skip', not ${String(errors)}`,
    );
  }
  const futures = futuresIn(nested);
  const holds = [...sessionsOf(futures)].map((session) => session.hold());
  try {
    const isSkipping = errors === 'skip';
    // Open outside a task; in one, the wait ends with it.
    using deadline = new Deadline({}, () => 'the futures were not done');
    await deadline.race(allSettled(futures, isSkipping));
    const results = await resultsOf(futures, isSkipping);
    if (futures === nested) {
      return isSkipping ? results.filter((result) => result !== SKIPPED) : results;
    }
    // The containers are walked in the same order again.
    const byFuture = new Map(futures.map((future, index) => [future, results[index]]));
    return substitute(nested, (future) => {
      const value = byFuture.get(future);
      return value === SKIPPED ? undefined : { value };
    });
  } finally {
    for (const hold of holds) hold[Symbol.dispose]();
  }
}

const SKIPPED = Symbol('skipped');

function sessionsOf(futures: readonly Future[]): ReadonlySet<Session> {
  const sessions = new Set<Session>();
  for (const future of futures) sessions.add(Future.sessionOf(future));
  return sessions;
}

/** Resolves when no future is pending; unless skipping, rejects with the first failure. */
async function allSettled(futures: readonly Future[], isSkipping: boolean): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let pending = 1;
  let failed: Future | undefined;
  const done = (): void => {
    pending -= 1;
    if (pending === 0) resolve();
  };
  const watchers = new Map<Session, Watcher>();
  const watcherOf = (session: Session): Watcher => {
    const known = watchers.get(session);
    if (known !== undefined) return known;
    const { table } = session;
    const watcher = {
      // Holds the futures: while somebody waits for them, they are not garbage.
      futures,
      settled: (id: number): void => {
        if (!isSkipping && failed === undefined && !table.isFinished(id)) {
          failed = futures.find(
            (future) => Future.idOf(future) === id && Future.sessionOf(future) === session,
          );
          if (failed !== undefined) reject(reasonOf(Future.locate(failed)));
        }
        done();
      },
    };
    watchers.set(session, watcher);
    return watcher;
  };
  for (const future of futures) {
    const session = Future.sessionOf(future);
    const id = Future.idOf(future);
    if (session.table.isPending(id)) {
      pending += 1;
      session.table.watch(id, watcherOf(session));
    } else if (!isSkipping && !session.table.isFinished(id)) {
      failed = future;
      reject(reasonOf(Future.locate(future)));
      break;
    }
  }
  done();
  try {
    await promise;
  } finally {
    if (pending > 0) {
      for (const future of futures) {
        const session = Future.sessionOf(future);
        const watcher = watchers.get(session);
        if (watcher !== undefined) session.table.unwatch(Future.idOf(future), watcher);
      }
    }
  }
}

async function resultsOf(futures: readonly Future[], isSkipping: boolean): Promise<unknown[]> {
  const results: unknown[] = Array.from({ length: futures.length });
  const absent: number[] = [];
  for (const [index, future] of futures.entries()) {
    const bytes = Future.sessionOf(future).table.value(Future.idOf(future));
    if (bytes === null) absent.push(index);
    else results[index] = decodeValue(bytes);
    if (index % DECODED_PER_TURN === DECODED_PER_TURN - 1) await nextTick();
  }
  let next = 0;
  const fetchNext = async (): Promise<void> => {
    while (next < absent.length) {
      const index = absent[next] ?? 0;
      next += 1;
      const future = futures[index];
      if (future !== undefined) results[index] = await fetched(future, isSkipping);
    }
  };
  await Promise.all(Array.from({ length: Math.min(FETCHED_MAX, absent.length) }, fetchNext));
  return results;
}

async function fetched(future: Future, isSkipping: boolean): Promise<unknown> {
  const at = Future.locate(future);
  if (!isSkipping) return settledResult(at);
  const { table } = at.session;
  await whenSettled(at);
  if (!table.isFinished(at.id)) return SKIPPED;
  try {
    return await settledResult(at);
  } catch (error) {
    // It may have failed while it was computed again; what is no failure of the task is raised.
    if (table.isFinished(at.id)) throw error;
    return SKIPPED;
  }
}

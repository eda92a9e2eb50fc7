import { FarmError } from '@farm/protocol';

import { atCaller } from './caller.ts';
import type { Watcher } from './future-table.ts';
import { Future } from './future.ts';
import { resultOf } from './results.ts';
import type { Session } from './session.ts';

/** Options of {@link asCompleted}. */
export interface AsCompletedOptions {
  /**
   * Whether to yield {@link Settled} entries, with the results, rather than futures.
   * @default false
   */
  readonly results?: boolean;
}

/** A future that is done, with its result or with why there is none. */
export type Settled<T> =
  | { readonly future: Future<T>; readonly status: 'fulfilled'; readonly value: T }
  | { readonly future: Future<T>; readonly status: 'rejected'; readonly reason: unknown };

/**
 * Yields futures in the order in which their tasks end, whether they succeed or not: a failed one
 * is yielded as well, and its `result()` rejects. Futures may be added while iterating. A future
 * that is given twice is yielded twice. A loop that was left goes on where it was with the next.
 *
 * @example
 * const running = asCompleted(client.map(explore, starts));
 * for await (const future of running) {
 *   const found = await future.result();
 *   running.update(client.map(explore, found.branches));
 * }
 */
export function asCompleted<T>(
  futures: Iterable<Future<T>>,
  options?: { readonly results?: false },
): AsCompleted<T, Future<T>>;
export function asCompleted<T>(
  futures: Iterable<Future<T>>,
  options: { readonly results: true },
): AsCompleted<T, Settled<T>>;
export function asCompleted<T>(
  futures: Iterable<Future<T>>,
  options: AsCompletedOptions = {},
): AsCompleted<T, Future<T>> | AsCompleted<T, Settled<T>> {
  return options.results === true
    ? new AsCompleted(futures, settle)
    : new AsCompleted(futures, identity);
}

/** Futures in the order of completion: made by {@link asCompleted}. */
export class AsCompleted<T, Y> implements AsyncIterableIterator<Y, undefined, undefined> {
  readonly #toYield: (future: Future<T>) => Y | Promise<Y>;
  /** Futures that are not done, by client and number; a list where one was given repeatedly. */
  readonly #pending = new Map<Session, Pending<T>>();
  /** Done and not yielded, oldest first. */
  #done: Future<T>[] = [];
  #doneFrom = 0;
  #pendingCount = 0;
  readonly #takers: ((result: Future<T> | undefined) => void)[] = [];
  #holds: Disposable[] = [];

  /** @internal */
  constructor(futures: Iterable<Future<T>>, toYield: (future: Future<T>) => Y | Promise<Y>) {
    this.#toYield = toYield;
    this.update(futures);
  }

  /** Futures that were not yielded yet. */
  get count(): number {
    return this.#pendingCount + this.#done.length - this.#doneFrom;
  }

  /** Whether every future was yielded. */
  get isEmpty(): boolean {
    return this.count === 0;
  }

  /** Adds a future. */
  add(future: Future<T>): void {
    if (!Future.isFuture(future)) {
      throw new FarmError('ERR_ARGUMENT', 'asCompleted takes futures only');
    }
    const session = Future.sessionOf(future);
    const id = Future.idOf(future);
    if (!session.table.isPending(id)) {
      this.#arrived(future);
      return;
    }
    let pending = this.#pending.get(session);
    if (pending === undefined) {
      pending = new Pending<T>((done) => {
        this.#pendingCount -= 1;
        this.#arrived(done);
      });
      this.#pending.set(session, pending);
      if (this.#takers.length > 0) this.#holds.push(session.hold());
    }
    if (pending.add(id, future)) session.table.watch(id, pending);
    this.#pendingCount += 1;
  }

  /** Adds futures. */
  update(futures: Iterable<Future<T>>): void {
    for (const future of futures) this.add(future);
  }

  /** The next future to be done; `done` when all were yielded. */
  async next(): Promise<IteratorResult<Y, undefined>> {
    const future = this.#takeDone() ?? (await this.#waitForNext());
    if (future === undefined) return { done: true, value: undefined };
    return { done: false, value: await this.#toYield(future) };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #takeDone(): Future<T> | undefined {
    const future = this.#done[this.#doneFrom];
    if (future === undefined) return undefined;
    this.#doneFrom += 1;
    if (this.#doneFrom === this.#done.length) {
      this.#done = [];
      this.#doneFrom = 0;
    }
    return future;
  }

  async #waitForNext(): Promise<Future<T> | undefined> {
    if (this.isEmpty) return undefined;
    const { promise, resolve } = Promise.withResolvers<Future<T> | undefined>();
    if (this.#takers.length === 0) {
      this.#holds = [...this.#pending.keys()].map((session) => session.hold());
    }
    this.#takers.push(resolve);
    return promise;
  }

  #arrived(future: Future<T>): void {
    const taker = this.#takers.shift();
    if (taker === undefined) {
      this.#done.push(future);
      return;
    }
    taker(future);
    // Whoever else waits would wait for ever.
    if (this.isEmpty) this.#endTakers();
    else if (this.#takers.length === 0) this.#letGo();
  }

  #endTakers(): void {
    for (const taker of this.#takers.splice(0)) taker(undefined);
    this.#letGo();
  }

  #letGo(): void {
    for (const hold of this.#holds.splice(0)) hold[Symbol.dispose]();
  }
}

/** Futures of one client that are not done. */
class Pending<T> implements Watcher {
  readonly #futures = new Map<number, Future<T>>();
  /** How many more times than once a future was given. */
  readonly #repeats = new Map<number, number>();
  readonly #onDone: (future: Future<T>) => void;

  constructor(onDone: (future: Future<T>) => void) {
    this.#onDone = onDone;
  }

  /** Adds a future; whether it was not there. */
  add(id: number, future: Future<T>): boolean {
    if (this.#futures.has(id)) {
      this.#repeats.set(id, (this.#repeats.get(id) ?? 0) + 1);
      return false;
    }
    this.#futures.set(id, future);
    return true;
  }

  settled(id: number): void {
    const future = this.#futures.get(id);
    if (future === undefined) return;
    const times = 1 + (this.#repeats.get(id) ?? 0);
    this.#futures.delete(id);
    this.#repeats.delete(id);
    for (let time = 0; time < times; time++) this.#onDone(future);
  }
}

function identity<T>(future: Future<T>): Future<T> {
  return future;
}

async function settle<T>(future: Future<T>): Promise<Settled<T>> {
  try {
    // SAFE: the task was submitted with a function that returns T.
    const value = (await resultOf(Future.locate(future), {})) as T;
    return { future, status: 'fulfilled', value };
  } catch (error) {
    const reason = atCaller(error, AsCompleted.prototype, 'next');
    return { future, status: 'rejected', reason };
  }
}

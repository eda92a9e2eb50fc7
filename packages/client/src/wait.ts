import { FarmError } from '@farm/protocol';

import { atCaller } from './caller.ts';
import { Deadline, type WaitLimits } from './deadline.ts';
import type { Watcher } from './future-table.ts';
import { Future } from './future.ts';

/** Options of {@link wait}. */
export interface WaitOptions extends WaitLimits {
  /**
   * What to wait for: all of the futures, or the first.
   * @default 'all'
   */
  readonly returnWhen?: 'all' | 'first';
}

/** What {@link wait} resolves to. Both lists keep the order of the futures. */
export interface Waited<F extends Future> {
  /** Ended, however. */
  readonly done: F[];
  readonly notDone: F[];
}

/**
 * Waits until futures are done, whether their tasks succeeded or not. When `timeoutMs` is over it
 * resolves too, with the rest in `notDone`.
 *
 * @throws The reason of `signal`, when that aborts first.
 *
 * @example
 * const { done, notDone } = await wait(futures, { timeoutMs: 10_000 });
 */
export async function wait<F extends Future>(
  futures: Iterable<F>,
  options: WaitOptions = {},
): Promise<Waited<F>> {
  const { returnWhen = 'all', ...limits } = options;
  const list = [...futures];
  if (!list.every((future) => Future.isFuture(future))) {
    const error = new FarmError('ERR_ARGUMENT', 'wait takes futures only');
    throw atCaller(error, wait);
  }
  if (returnWhen !== 'all' && returnWhen !== 'first') {
    const why = `wait: returnWhen is 'all' or 'first', not ${String(returnWhen)}`;
    throw atCaller(new FarmError('ERR_ARGUMENT', why), wait);
  }
  const holds = [...new Set(list.map((future) => Future.sessionOf(future)))].map((session) =>
    session.hold(),
  );
  using deadline = new Deadline(limits, () => 'the futures were not done');
  const pending = list.filter((future) => !future.done);
  const { promise, resolve } = Promise.withResolvers<void>();
  let needed = returnWhen === 'all' ? pending.length : Math.min(1, pending.length);
  if (returnWhen === 'first' && pending.length < list.length) needed = 0;
  const watcher: Watcher & { readonly list: readonly F[] } = {
    list,
    settled: () => {
      needed -= 1;
      if (needed <= 0) resolve();
    },
  };
  if (needed === 0) resolve();
  try {
    for (const future of pending) {
      Future.sessionOf(future).table.watch(Future.idOf(future), watcher);
    }
    await deadline.race(promise);
  } catch (error) {
    if (!deadline.isTimeout(error)) throw error;
  } finally {
    for (const future of pending) {
      Future.sessionOf(future).table.unwatch(Future.idOf(future), watcher);
    }
    for (const hold of holds) hold[Symbol.dispose]();
  }
  return {
    done: list.filter((future) => future.done),
    notDone: list.filter((future) => !future.done),
  };
}

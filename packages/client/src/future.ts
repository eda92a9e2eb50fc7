import { inspect } from 'node:util';

import { blockKey } from '@farm/protocol';
import { FUTURE } from '@farm/protocol/value';

import { atAwaiter } from './caller.ts';
import type { WaitLimits } from './deadline.ts';
import type { FutureLocation } from './future-location.ts';
import type { FutureStatus } from './future-table.ts';
import { exceptionOf, resultOf } from './results.ts';
import type { Session } from './session.ts';

/**
 * Tasks that were submitted together: what their futures share. While one of the futures is
 * reachable so is this; when none is, the tasks are released.
 */
export class FutureBlock {
  readonly session: Session;
  readonly key: string;
  /** As in `Submit`: null for a single task. */
  readonly indexFrom: number | null;
  readonly first: number;
  /** As in `PreparedFunction`. */
  readonly site: string | undefined;

  constructor(
    session: Session,
    key: string,
    indexFrom: number | null,
    first: number,
    site?: string,
  ) {
    this.session = session;
    this.key = key;
    this.indexFrom = indexFrom;
    this.first = first;
    this.site = site;
  }
}

/**
 * Stands for the result of a task on the cluster. Made by `submit` and `map`; passed in arguments
 * of further tasks, anywhere inside them, it stands for its result there.
 *
 * A future is no promise and has no `then`: to return or yield one gives the future, not its
 * result. The result stays on the cluster until the future is released: by `release()`, by
 * `using`, or some time after it and all futures of the same `map` became garbage.
 *
 * @example
 * const future = client.submit((x: number) => x + 1, 41);
 * console.log(await future.result()); // 42
 */
export class Future<T = unknown> implements Disposable {
  readonly #block: FutureBlock;
  readonly #id: number;

  /** Made by `submit` and `map`. */
  constructor(block: FutureBlock, id: number) {
    this.#block = block;
    this.#id = id;
  }

  /** Name of the task on the cluster. */
  get key(): string {
    const { key, indexFrom, first } = this.#block;
    return blockKey(key, indexFrom, this.#id - first);
  }

  /**
   * How far the task is, as this client knows: `pending`, `finished`, `error`, `cancelled`, `lost`
   * (its result, or the connection to the scheduler, is gone), or `released`.
   */
  get status(): FutureStatus {
    return this.#block.session.table.status(this.#id);
  }

  /** Whether the task is no longer pending, however it ended. */
  get done(): boolean {
    return !this.#block.session.table.isPending(this.#id);
  }

  /** Name of the worker the task finished or failed on; undefined before, and where none is known. */
  get worker(): string | undefined {
    const { table } = this.#block.session;
    return table.finished(this.#id)?.worker ?? table.failure(this.#id)?.worker ?? undefined;
  }

  /** How long the task ran, milliseconds; undefined unless it is finished. */
  get durationMs(): number | undefined {
    const task = this.#block.session.table.finished(this.#id);
    return task === undefined ? undefined : task.durationUs / 1_000;
  }

  /**
   * Waits for the task and gives its result. Each call gives a copy of its own: what you change in
   * one is not seen in the next. A large result is fetched each time.
   *
   * @throws What the task threw, with its stack on the worker (see `failureOf`); a
   *   {@link CommandError} for a command that failed; or a FarmError: `ERR_CANCELLED`,
   *   `ERR_TASK_TIMEOUT`, `ERR_KILLED_WORKER`, `ERR_CONNECTION_LOST`, `ERR_TIMEOUT` where
   *   `timeoutMs` was over first (the task goes on), …
   */
  async result(limits: WaitLimits = {}): Promise<T> {
    try {
      // SAFE: the task was submitted with a function that returns T.
      return (await resultOf(Future.locate(this), limits)) as T;
    } catch (error) {
      throw await atAwaiter(error, Future.prototype, 'result');
    }
  }

  /** Waits for the task and gives what it failed with; undefined where it did not. */
  async exception(limits: WaitLimits = {}): Promise<Error | undefined> {
    try {
      const thrown = await exceptionOf(Future.locate(this), limits);
      if (thrown !== undefined) await atAwaiter(thrown, Future.prototype, 'exception');
      return thrown;
    } catch (error) {
      throw await atAwaiter(error, Future.prototype, 'exception');
    }
  }

  /**
   * Stops the task, a running one too, unless another client wants it. A task that has ended is
   * left as it is.
   *
   * @param reason - Is in the message of the error that `result()` then rejects with.
   */
  cancel(reason = ''): void {
    this.#block.session.cancel(this.#id, reason);
  }

  /** Runs a failed task again, failed dependencies included. Has no effect on other tasks. */
  retry(): void {
    this.#block.session.retry(this.#id);
  }

  /**
   * Says that the result is no longer wanted: the cluster forgets it, or does not compute it, as
   * soon as no other task needs it. The future cannot be used any more.
   */
  release(): void {
    this.#block.session.release(this.#id, 1);
  }

  /** {@link release}, at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.release();
  }

  /** @internal */
  static locate(future: Future): FutureLocation {
    const { session, site } = future.#block;
    return { session, id: future.#id, future, site };
  }

  /** @internal */
  static idOf(future: Future): number {
    return future.#id;
  }

  /** @internal */
  static sessionOf(future: Future): Session {
    return future.#block.session;
  }

  /** Whether a value is a future. */
  static isFuture(value: unknown): value is Future {
    return typeof value === 'object' && value !== null && #block in value;
  }

  toString(): string {
    return `<Future ${this.status} ${this.key}>`;
  }

  static {
    // Not in the class body: declarations cannot name symbols that are imported.
    Object.defineProperties(Future.prototype, {
      [FUTURE]: { value: true },
      [inspect.custom]: {
        value(this: Future): string {
          return this.toString();
        },
      },
    });
  }
}

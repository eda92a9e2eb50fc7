import { FarmError } from '@farm/protocol';

import { surroundingTask } from './inside-task.ts';

/** How long to wait for something. */
export interface WaitLimits {
  /**
   * Milliseconds until the wait is given up with `ERR_TIMEOUT`.
   * @default no limit
   */
  readonly timeoutMs?: number;
  /**
   * Ends the wait with the signal's reason.
   * @default none; in a task the one of its context
   */
  readonly signal?: AbortSignal;
}

/** Longest delay of a timer; what is longer is no limit in practice. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/**
 * The end of one wait of a user. Several promises may be raced against it one after another.
 * Dispose it when the wait is over, or its timer lives on.
 */
export class Deadline implements Disposable {
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #listeners = new Set<(error: unknown) => void>();
  readonly #onAbort = (): void => this.#end(this.#signal?.reason);
  #timeout: FarmError | undefined;
  #over: { readonly error: unknown } | undefined;

  /**
   * @param describe - Says what did not happen in time, for the message.
   * @throws FarmError `ERR_ARGUMENT` for a timeout that is no time.
   */
  constructor(limits: WaitLimits, describe: () => string) {
    const { timeoutMs, signal = surroundingTask()?.signal } = limits;
    checkTimeout(timeoutMs);
    if (timeoutMs !== undefined && timeoutMs <= TIMER_MS_MAX) {
      this.#timer = setTimeout(() => {
        this.#timeout = new FarmError('ERR_TIMEOUT', `${describe()} within ${timeoutMs} ms`);
        this.#end(this.#timeout);
      }, timeoutMs);
    }
    this.#signal = signal;
    if (signal?.aborted === true) this.#end(signal.reason);
    else signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Whether an error that a race rejected with says that the time was over. */
  isTimeout(error: unknown): boolean {
    return error !== undefined && error === this.#timeout;
  }

  /** Whether there is no limit. */
  get isOpen(): boolean {
    return this.#timer === undefined && this.#signal === undefined;
  }

  /**
   * Gives what `promise` gives, or rejects when the time is over; `onOver` is called then, to undo
   * what was waited for.
   */
  async race<T>(promise: Promise<T>, onOver?: () => void): Promise<T> {
    if (this.isOpen) return promise;
    const over = Promise.withResolvers<never>();
    const listener = (error: unknown): void => {
      onOver?.();
      over.reject(error);
    };
    this.#listeners.add(listener);
    if (this.#over !== undefined) listener(this.#over.error);
    try {
      return await Promise.race([promise, over.promise]);
    } finally {
      this.#listeners.delete(listener);
    }
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  #end(error: unknown): void {
    this.#over ??= { error };
    for (const listener of this.#listeners) listener(error);
  }
}

/** Refuses a timeout that is negative or not a number. */
export function checkTimeout(timeoutMs: number | undefined): void {
  if (timeoutMs === undefined || (typeof timeoutMs === 'number' && timeoutMs >= 0)) return;
  throw new FarmError(
    'ERR_ARGUMENT',
    `timeoutMs is not a number of milliseconds from 0 on: ${String(timeoutMs)}`,
  );
}

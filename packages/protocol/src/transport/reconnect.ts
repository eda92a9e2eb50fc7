import { setTimeout as delay } from 'node:timers/promises';

import { FarmError } from '../core/index.ts';
import { FrameConnection } from './frame-connection.ts';

/** Options of {@link reconnect}. */
export interface ReconnectOptions {
  /** How long the other side keeps the session. */
  readonly leaseMs: number;
  /** Dials once, with `resume`. It is to give up when its signal aborts. */
  readonly dial: (signal: AbortSignal) => Promise<unknown>;
  /**
   * Whether it is of no use to try again: the scheduler is known to have ended, for one.
   * @default never
   */
  readonly isHopeless?: (error: FarmError) => Promise<boolean>;
  /** Ends it: the connection is over then. */
  readonly signal: AbortSignal;
}

const BACKOFF_MS_FIRST = 50;
const BACKOFF_MS_MAX = 1_000;
/** One attempt. A new one finds the way sooner than an old one that waits for lost packets. */
const ATTEMPT_MS = 5_000;
/** Most time one step counts for: where it took longer, this process itself stood still. */
const STEP_MS_MAX = ATTEMPT_MS + BACKOFF_MS_MAX;

/**
 * Brings back a connection whose socket was lost: dials until it goes on, or is known to be over,
 * or the lease has ended; then its `closed` handler is told why. Time in which this process stood
 * still does not count.
 *
 * @param connection - As `dial` made it, resumable and detached.
 */
export async function reconnect(connection: object, options: ReconnectOptions): Promise<void> {
  if (!(connection instanceof FrameConnection)) return;
  const { leaseMs, isHopeless, signal } = options;
  let leftMs = leaseMs;
  let last: FarmError | undefined;
  for (let waitMs = BACKOFF_MS_FIRST; leftMs > 0; waitMs = Math.min(waitMs * 2, BACKOFF_MS_MAX)) {
    if (connection.isEnded) return;
    const startedMs = performance.now();
    try {
      await options.dial(AbortSignal.any([signal, AbortSignal.timeout(ATTEMPT_MS)]));
      return;
    } catch (error) {
      if (connection.isEnded) return;
      if (signal.aborted) {
        connection.gone(asFarmError(signal.reason));
        return;
      }
      const why = isTimeout(error) ? last : asFarmError(error);
      if (why !== undefined && (!isPassing(why) || (await isHopeless?.(why)) === true)) {
        connection.gone(why);
        return;
      }
      last = why;
    }
    // Where nothing else is waited for, the process may end meanwhile.
    await delay(Math.min(waitMs, leftMs), undefined, { signal, ref: connection.isRef }).catch(
      () => {},
    );
    leftMs -= Math.min(performance.now() - startedMs, STEP_MS_MAX);
  }
  const cause = last === undefined ? '' : `: ${last.message}`;
  connection.gone(
    new FarmError(
      'ERR_CONNECTION_LOST',
      `the connection to ${connection.peer} was lost and did not come back in ${leaseMs / 1000} s` +
        cause,
      { cause: last },
    ),
  );
}

function isPassing({ code }: FarmError): boolean {
  return code === 'ERR_CONNECT' || code === 'ERR_TIMEOUT' || code === 'ERR_LIMIT';
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === 'TimeoutError';
}

function asFarmError(error: unknown): FarmError {
  if (error instanceof FarmError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new FarmError('ERR_CONNECTION_LOST', text, { cause: error });
}

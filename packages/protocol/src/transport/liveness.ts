import { LIMITS } from '../core/index.ts';

/** Times of a {@link watchLiveness}, milliseconds. */
export interface LivenessTimes {
  /** A ping goes out this often. */
  readonly pingMs: number;
  /** A peer that sends nothing is found dead by then. */
  readonly deadMs: number;
}

/** A closed socket is seen at once; this finds peers that vanished without closing theirs. */
export const LIVENESS_TIMES: LivenessTimes = livenessTimes(LIMITS.heartbeatTimeoutMs);

/** Times that find a silent peer within `deadMs`. */
export function livenessTimes(deadMs: number): LivenessTimes {
  return { pingMs: deadMs / 3, deadMs };
}

/** The connection as its watcher sees it. */
export interface Watched {
  /** Bytes received so far. */
  readonly bytesRead: number;
  /** Whether this side holds inbound data back, so that silence says nothing. */
  readonly isPaused: boolean;
  /** Makes the peer answer. */
  ping(): void;
  /** Called once; the watch is over then. */
  dead(): void;
}

/** Looks without a byte until a peer is dead. */
const LOOKS = 15;
/** Timers come late, by a millisecond or so each. */
const PUNCTUALITY = 0.99;

/**
 * Pings a peer and finds out when it has gone silent. Silence is counted in looks at the socket
 * rather than by a clock, so that time in which this process itself stood still (a long task on
 * the event loop, SIGSTOP, a sleeping laptop) does not count: after it, at most one look passes
 * before what has arrived meanwhile is read.
 *
 * @returns Stops the watch. Idempotent.
 */
export function watchLiveness(watched: Watched, times: LivenessTimes = LIVENESS_TIMES): () => void {
  // Silence begins between two looks: that part of it comes on top of those counted.
  const lookMs = (times.deadMs * PUNCTUALITY) / (LOOKS + 1);
  const looksPerPing = Math.max(1, Math.round(times.pingMs / lookMs));
  let seenBytes = watched.bytesRead;
  let looks = 0;
  let silentLooks = 0;
  const timer = setInterval(() => {
    const { bytesRead, isPaused } = watched;
    silentLooks = isPaused || bytesRead !== seenBytes ? 0 : silentLooks + 1;
    seenBytes = bytesRead;
    if (silentLooks >= LOOKS) {
      clearInterval(timer);
      watched.dead();
      return;
    }
    looks++;
    if (looks % looksPerPing === 0) watched.ping();
  }, lookMs);
  // The socket keeps the process alive as long as it should.
  timer.unref();
  return () => clearInterval(timer);
}

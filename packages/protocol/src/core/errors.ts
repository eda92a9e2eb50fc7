/**
 * Every code a farm error can carry. A code is stable: programs branch on it, documentation is
 * indexed by it. `docs/errors.md` has one row for each.
 */
export type ErrorCode =
  // connecting
  | 'ERR_ADDRESS' // an address does not parse or names no reachable endpoint
  | 'ERR_CONNECT' // the peer could not be reached in time
  | 'ERR_UNAUTHORIZED' // no token, wrong token, or the token of another role
  | 'ERR_PROTOCOL' // the peer does not speak this protocol, or broke it
  | 'ERR_VERSION' // the peer speaks another protocol version
  | 'ERR_LIMIT' // a limit was reached (frame size, queue length, open handshakes, ...)
  | 'ERR_CONNECTION_LOST' // an open connection ended and did not come back in time
  | 'ERR_CLOSED' // the object was used after close()
  | 'ERR_TIMEOUT' // something the caller put a deadline on did not happen in time
  | 'ERR_SCHEDULER_FILE' // a scheduler file or credential file is missing, malformed or stale
  // submitting
  | 'ERR_VALUE' // a value cannot travel; the message names the path inside it
  | 'ERR_FUNCTION' // a function cannot travel; the message names the free variables
  | 'ERR_ARGUMENT' // an argument of an API call or a flag of a command line is not valid
  | 'ERR_DUPLICATE_KEY' // a key is in use for another task
  | 'ERR_FOREIGN_FUTURE' // a future of another client, or one that was released or cancelled
  // running
  | 'ERR_TASK' // user code threw; the RemoteError carries what it threw
  | 'ERR_COMMAND' // a command ended with an exit code that is not accepted, or by a signal
  | 'ERR_SPAWN' // a command could not be started
  | 'ERR_STAGE' // files of a command could not be brought, or taken out
  | 'ERR_TASK_TIMEOUT' // the task ran longer than its timeoutMs
  | 'ERR_CANCELLED' // the task was cancelled
  | 'ERR_MEMORY_LIMIT' // the task took more memory than it asked for
  | 'ERR_KILLED_WORKER' // the task's workers died more often than allowed
  | 'ERR_WORKER_CRASH' // the thread or process running the task ended without an answer
  | 'ERR_RESULT' // the task's result cannot travel
  | 'ERR_LOST_DATA' // a result is gone and cannot be computed again
  | 'ERR_NO_WORKER' // no worker can ever satisfy the request
  | 'ERR_PLUGIN' // a plugin of workers could not be set up
  | 'ERR_INTERNAL'; // an invariant of farm itself does not hold: a bug, please report it

const BRAND = Symbol.for('farm.error');

/** Options of a {@link FarmError}. */
export interface FarmErrorOptions extends ErrorOptions {
  /** The key of the task concerned. */
  readonly key?: string;
  /** The name or address of the worker concerned. */
  readonly worker?: string;
}

/**
 * The base of every error farm itself raises.
 *
 * `instanceof FarmError` works across copies of the package, since it compares a brand.
 *
 * @example
 * try { await future.result(); }
 * catch (error) { if (error instanceof FarmError && error.code === 'ERR_TASK_TIMEOUT') retry(); }
 */
export class FarmError extends Error {
  /** Stable identification of what went wrong. */
  readonly code: ErrorCode;
  /** The key of the task concerned, where there is one. */
  declare readonly key: string | undefined;
  /** The worker concerned, where there is one. */
  declare readonly worker: string | undefined;

  constructor(code: ErrorCode, message: string, options: FarmErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'FarmError';
    this.code = code;
    // Not where there is none: whoever prints the error would read that it is undefined.
    if (options.key !== undefined) this.key = options.key;
    if (options.worker !== undefined) this.worker = options.worker;
    Object.defineProperty(this, BRAND, { value: true });
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    if (typeof value !== 'object' || value === null) return false;
    // A subclass keeps the ordinary prototype check; only the base is recognised by its brand.
    if (this !== FarmError) return Function.prototype[Symbol.hasInstance].call(this, value);
    return BRAND in value;
  }
}

/**
 * Stops at once where an invariant of farm does not hold. Cheap enough to stay on in production.
 *
 * @throws FarmError `ERR_INTERNAL`
 */
export function invariant(condition: unknown, message: string): asserts condition {
  if (!condition) throw new FarmError('ERR_INTERNAL', `invariant violated: ${message}`);
}

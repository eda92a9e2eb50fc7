import {
  type CommandResult,
  type ErrorCode,
  type Failure,
  FarmError,
  type FarmErrorOptions,
  failure,
} from '@farm/protocol';
import { decodeError } from '@farm/protocol/value';

import { CommandError } from './command-error.ts';

/** What farm knows of an error that a task threw. */
export interface TaskFailure {
  readonly code: ErrorCode;
  /** Key of the task whose result was asked for. */
  readonly key: string;
  /** Key of the task that failed: another one where a dependency failed. */
  readonly origin: string;
  /** Name of the worker it failed on, if any. */
  readonly worker: string | null;
  /**
   * Where this program submitted the function of the failed task first, `file:///main.ts:12:15`; null
   * where it is not known, as of a dependency, and of a module's function, whose frames have its file.
   */
  readonly submittedAt: string | null;
}

const details = new WeakMap<object, TaskFailure>();

/**
 * Tells where an error that `result()` rejected with comes from: which task threw it, and on which
 * worker. Undefined for errors that no task failed with.
 *
 * @example
 * try { await total.result(); }
 * catch (error) { console.error(error, 'in task', failureOf(error)?.origin); }
 */
export function failureOf(error: unknown): TaskFailure | undefined {
  return typeof error === 'object' && error !== null ? details.get(error) : undefined;
}

/** What `result()` of task `key` rejects with: what user code threw, or an error of farm. */
export function errorOf(why: Failure, key: string, site?: string): Error {
  const error = rebuild(why, key);
  const origin = why.origin === '' ? key : why.origin;
  const submittedAt = origin === key ? (site ?? null) : null;
  details.set(error, { code: why.code, key, origin, worker: why.worker, submittedAt });
  return error;
}

/** A failure all pending tasks of a client share: what happened to its connection. */
export function failureFrom(error: FarmError): Failure {
  return failure(error.code, error.message, '', null, null);
}

function rebuild(why: Failure, key: string): Error {
  const options: FarmErrorOptions = why.worker === null ? { key } : { key, worker: why.worker };
  if (why.error === null) {
    // Whoever cancels tells the keys of all its tasks at once.
    const message = why.code === 'ERR_CANCELLED' ? `${key}: ${why.message}` : why.message;
    const error = new FarmError(why.code, message, options);
    if (why.name !== null) error.name = why.name;
    return error;
  }
  const thrown = decodeError(why.error);
  if (why.code === 'ERR_COMMAND') {
    const cause = thrown.cause === undefined ? {} : { cause: thrown.cause };
    return new CommandError(thrown.message, commandResult(thrown), { ...options, ...cause });
  }
  if (why.code === 'ERR_TASK') return thrown;
  // Farm says what happened to the task; what code of the user's threw is the reason.
  return new FarmError(why.code, why.message, { ...options, cause: thrown });
}

function commandResult(error: Error): CommandResult {
  const fields = new Map<string, unknown>(Object.entries(error));
  const text = (name: string): string => {
    const value = fields.get(name);
    return typeof value === 'string' ? value : '';
  };
  const exitCode = fields.get('exitCode');
  const signal = fields.get('signal');
  return {
    exitCode: typeof exitCode === 'number' ? exitCode : null,
    signal: typeof signal === 'string' ? signal : null,
    stdout: text('stdout'),
    stderr: text('stderr'),
    durationMs: Number(fields.get('durationMs') ?? 0),
  };
}

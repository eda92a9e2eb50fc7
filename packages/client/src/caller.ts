import { FarmError } from '@farm/protocol';
import { framesOf } from '@farm/protocol/value';

import { failureOf, type TaskFailure } from './failures.ts';

/** A function or class that users call, or where its method is. */
type Entry<T extends object> = readonly [entry: T] | readonly [owner: T, method: keyof T];

/** Errors that point at whoever called already. */
const pointed = new WeakSet<Error>();

/**
 * Has an error point at the line of the user's that called `entry`, or that awaits what it returned,
 * and at none of farm's: in its stack, and in the lines that Node prints above an error that nobody
 * catches. What a task threw keeps its own frames, which come first. Errors of others are left as
 * they are, as is what reports a bug of farm's. To be called where `entry` is on the stack; for an
 * async one see {@link atAwaiter}.
 *
 * @param entry - the function of the public API that the user called
 * @returns the error
 */
export function atCaller<T extends object>(error: unknown, ...entry: Entry<T>): unknown {
  if (!(error instanceof Error) || pointed.has(error) || !Object.isExtensible(error)) return error;
  const failure = failureOf(error);
  if (failure === undefined && !(error instanceof FarmError)) return error;
  if (error instanceof FarmError && error.code === 'ERR_INTERNAL') return error;
  pointed.add(error);
  const [owner, method] = entry;
  const called: unknown = method === undefined ? owner : owner[method];
  if (typeof called !== 'function') return error;
  const caller: { readonly stack?: unknown } = {};
  Error.captureStackTrace(caller, called);
  const frames = typeof caller.stack === 'string' ? framesOf(caller.stack) : '';
  const isThrown = failure?.code === 'ERR_TASK';
  const own = isThrown ? `${error.stack ?? headOf(error)}${taskLine(failure)}` : headOf(error);
  // Node takes the line that it prints from what the engine notes here, as long as nobody reads it.
  Error.captureStackTrace(error, called);
  setStack(error, own + frames);
  // Where inside of farm its reason was found tells a user nothing.
  if (error.cause instanceof FarmError && failure === undefined) {
    setStack(error.cause, headOf(error.cause));
  }
  return error;
}

/**
 * {@link atCaller} for an async `entry`, which throws what it awaits of this. That costs nothing
 * before something fails: V8 finds who awaits whom when a stack is taken. What Node runs microtasks
 * by is above `entry` then.
 */
export async function atAwaiter<T extends object>(
  reason: unknown,
  ...entry: Entry<T>
): Promise<unknown> {
  await Promise.resolve();
  return atCaller(reason, ...entry);
}

function setStack(error: Error, value: string): void {
  Object.defineProperty(error, 'stack', { value, configurable: true, writable: true });
}

function headOf({ name, message }: Error): string {
  return message === '' ? name : `${name}: ${message}`;
}

/** Stands between the frames of the task and those of the program. */
function taskLine({ key, origin, worker, submittedAt }: TaskFailure): string {
  const on = worker === null ? '' : `on worker ${worker}`;
  const needed = origin === key ? '' : `needed by ${key}`;
  const about = [on, needed].filter((part) => part !== '').join(', ');
  const task = `\n    at task ${origin}${about === '' ? '' : ` (${about})`}`;
  return submittedAt === null ? task : `${task}\n    at submit (${submittedAt})`;
}

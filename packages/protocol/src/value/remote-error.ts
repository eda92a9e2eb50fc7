import { inspect, types } from 'node:util';
import { FarmError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { decodeValue } from './decoder.ts';
import { encodeWith } from './encode-value.ts';

/** Largest encoded error. A larger one loses its fields, cause and list of errors. In bytes. */
const ERROR_BYTES_MAX = 256 * 1024;
const SUMMARY_LENGTH_MAX = 300;

/** Options of {@link encodeError}. */
export interface EncodeErrorOptions {
  readonly context?: string;
  readonly hiddenFrames?: string | undefined;
}

/**
 * Turns whatever was thrown into bytes. Never throws: text beyond `LIMITS.errorTextMax` is cut,
 * fields that cannot travel become a note in their place, an error that is still too large or
 * cannot be read travels as class, name, message and stack. What is not an Error becomes the
 * `cause` of one.
 *
 * @param options - `context`: what threw, to begin the message with where an Error has to be made for
 *   it, by default `the task`. `hiddenFrames`: what stands in the lines of stacks that are left out,
 *   such as the directory of whoever called the code that threw.
 *
 * @example
 * try { await run(); } catch (error) { send(encodeError(error)); }
 */
export function encodeError(
  error: unknown,
  { context = 'the task', hiddenFrames }: EncodeErrorOptions = {},
): Uint8Array {
  const thrown = isError(error) ? error : wrapped(error, context);
  return (
    attempt(thrown, hiddenFrames) ??
    attempt(bareCopy(thrown), hiddenFrames) ??
    encodeWith(unreadable(), 'lenient', { what: 'error' }).bytes
  );
}

/**
 * Rebuilds the error of {@link encodeError}: of the same built-in class, with the same name,
 * message, stack, cause and own fields; an error of a class of the user's is one of the built-in
 * class it extends, and has its name. Never throws: bytes that are no error give a FarmError that
 * says so.
 */
export function decodeError(bytes: Uint8Array): Error {
  try {
    const error = decodeValue(bytes, [], { what: 'error', copy: true });
    if (isError(error)) return error;
    return new FarmError('ERR_VALUE', 'error: its encoding holds a value that is not an error');
  } catch (error) {
    return isError(error) ? error : new FarmError('ERR_VALUE', 'error: it could not be read');
  }
}

/**
 * One line of bounded length that says what an error is, for logs. Never throws.
 *
 * @example
 * errorText(new TypeError('no such file', { cause })); // 'TypeError: no such file (Error: ENOENT)'
 */
export function errorText(error: unknown): string {
  if (!isError(error)) return oneLine(described(error));
  const cause = property(error, 'cause');
  const because = isError(cause) ? ` (${summary(cause)})` : '';
  return oneLine(summary(error) + because);
}

function summary(error: Error): string {
  const name = textProperty(error, 'name') || 'Error';
  const message = textProperty(error, 'message');
  const code = property(error, 'code');
  const label = typeof code === 'string' || typeof code === 'number' ? `${name} [${code}]` : name;
  return message === '' ? label : `${label}: ${message.slice(0, SUMMARY_LENGTH_MAX)}`;
}

function oneLine(text: string): string {
  const line = text
    .slice(0, 2 * SUMMARY_LENGTH_MAX)
    .replaceAll(/\s+/gu, ' ')
    .trim();
  return line.length > SUMMARY_LENGTH_MAX ? `${line.slice(0, SUMMARY_LENGTH_MAX)}…` : line;
}

/** Recognises errors of other realms; a Proxy of an error is none, since it may do anything. */
function isError(value: unknown): value is Error {
  return types.isNativeError(value);
}

function attempt(error: Error, hiddenFrames: string | undefined): Uint8Array | undefined {
  try {
    const options = { what: 'error', bytesMax: ERROR_BYTES_MAX, hiddenFrames };
    return encodeWith(error, 'lenient', options).bytes;
  } catch {
    return undefined;
  }
}

function wrapped(value: unknown, context: string): Error {
  const message = `${context} threw a value that is not an Error: ${described(value)}`;
  return withoutStack(new Error(message, { cause: value }));
}

/** The same kind of error with nothing but its text. */
function bareCopy(error: Error): Error {
  const copy = new Error(textProperty(error, 'message'));
  try {
    Object.setPrototypeOf(copy, Reflect.getPrototypeOf(error));
  } catch {
    // It stays a plain Error.
  }
  define(copy, 'name', textProperty(error, 'name') || 'Error');
  define(copy, 'stack', textProperty(error, 'stack'));
  return copy;
}

function unreadable(): Error {
  return withoutStack(new Error('an error that could not be read'));
}

/** The stack of an error made here would point at this file, not at what went wrong. */
function withoutStack(error: Error): Error {
  define(error, 'stack', `${error.name}: ${error.message}`);
  return error;
}

function define(error: Error, key: string, value: string): void {
  Object.defineProperty(error, key, { value, configurable: true, writable: true });
}

function property(error: Error, key: string): unknown {
  try {
    const value: unknown = Reflect.get(error, key);
    return value;
  } catch {
    return undefined;
  }
}

function textProperty(error: Error, key: string): string {
  const value = property(error, key);
  return typeof value === 'string' ? value.slice(0, LIMITS.errorTextMax) : '';
}

function described(value: unknown): string {
  try {
    if (typeof value === 'string') return JSON.stringify(value.slice(0, SUMMARY_LENGTH_MAX));
    const text = inspect(value, {
      depth: 1,
      maxArrayLength: 10,
      maxStringLength: SUMMARY_LENGTH_MAX,
      breakLength: Infinity,
      customInspect: false,
    });
    return text.length > SUMMARY_LENGTH_MAX ? `${text.slice(0, SUMMARY_LENGTH_MAX)}…` : text;
  } catch {
    return 'a value that cannot be shown';
  }
}

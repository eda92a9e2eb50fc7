/** Executes one run in a thread or process: decodes, calls, encodes. Nothing here ever throws. */
import { FarmError, LIMITS } from '@farm/protocol/core';
import {
  type AllocateMemory,
  decodeValue,
  encodeError,
  encodeValue,
  errorText,
  takeResultArray,
} from '@farm/protocol/value';

import type { ResultLimit } from '../result-limit.ts';
import { RECORD_KINDS } from './run-lane.ts';
import type { TaskFunction, TaskFunctions } from './task-functions.ts';
import { batchPiece, packFailure, type PackedRuns } from './thread-messages.ts';

/** Characters of an error's name that are told. */
const ERROR_NAME_LENGTH_MAX = 200;

/** Users see no frames of what called their code: the executors, this directory and its like. */
export const HIDDEN_FRAMES: string = new URL('../', import.meta.url).href;

/** What holds for the results of all runs. */
export interface ResultTerms {
  /** Undefined for no limit. */
  readonly limit: ResultLimit | undefined;
  /** Where memory for large ones comes from. @default plain memory */
  readonly allocate?: AllocateMemory;
}

/** How a run ended: what a record of it carries. */
export interface Outcome {
  /** One of `RECORD_KINDS`. */
  readonly kind: number;
  readonly bytes: Uint8Array;
}

/**
 * Decodes the arguments, calls the function and encodes its result. A promise only where there is
 * something to wait for: a turn of the microtask queue costs as much as a small task.
 */
export function runFunction(
  functions: TaskFunctions,
  batch: PackedRuns,
  firstPiece: number,
  lastPiece: number,
  terms: ResultTerms,
): Outcome | Promise<Outcome> {
  const task = functions.loaded(batch.fn);
  if (task !== undefined) return call(task, batch, firstPiece, lastPiece, terms);
  return functions.load(batch.fn).then(
    (loaded) => call(loaded, batch, firstPiece, lastPiece, terms),
    (error: unknown) => failed(RECORD_KINDS.functionFailed, textOf(error), causeOf(error)),
  );
}

/** Name of what was thrown, bounded; null where it has none. Reading it must not throw again. */
export function errorName(error: unknown): string | null {
  try {
    if (!(error instanceof Error) || typeof error.name !== 'string') return null;
    return error.name === '' ? null : error.name.slice(0, ERROR_NAME_LENGTH_MAX);
  } catch {
    return null;
  }
}

function call(
  task: TaskFunction,
  batch: PackedRuns,
  firstPiece: number,
  lastPiece: number,
  terms: ResultTerms,
): Outcome | Promise<Outcome> {
  let args: unknown[];
  try {
    args = decodeArguments(batch, firstPiece, lastPiece);
  } catch (error) {
    const message = `the arguments could not be decoded: ${textOf(error)}`;
    return failed(RECORD_KINDS.argumentsFailed, message, null);
  }
  try {
    const value = task(...args);
    const sharedViews = batch.sharesInputs === true;
    return isThenable(value)
      ? settled(value, terms, sharedViews)
      : succeeded(value, terms, sharedViews);
  } catch (error) {
    return threw(error);
  }
}

function decodeArguments(batch: PackedRuns, firstPiece: number, lastPiece: number): unknown[] {
  const encoded = batchPiece(batch, firstPiece);
  if (lastPiece - firstPiece === 1) return argumentList(decodeValue(encoded));
  const inputs: unknown[] = [];
  for (let piece = firstPiece + 1; piece < lastPiece; piece++) {
    inputs.push(decodeValue(batchPiece(batch, piece)));
  }
  return argumentList(decodeValue(encoded, inputs));
}

function argumentList(decoded: unknown): unknown[] {
  if (Array.isArray(decoded)) return decoded;
  throw new TypeError('they are not a list');
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    'then' in value &&
    typeof value.then === 'function'
  );
}

async function settled(
  value: PromiseLike<unknown>,
  terms: ResultTerms,
  sharedViews: boolean,
): Promise<Outcome> {
  try {
    return succeeded(await value, terms, sharedViews);
  } catch (error) {
    return threw(error);
  }
}

/** A result that is too large is refused before it is copied: that would be too large once more. */
function succeeded(
  value: unknown,
  { limit, allocate }: ResultTerms,
  sharedViews: boolean,
): Outcome {
  try {
    const taken = takeResultArray(value);
    if (taken !== undefined) {
      if (limit !== undefined && taken.byteLength > limit.bytes) {
        return failed(RECORD_KINDS.resultFailed, `the result: ${limit.tooLarge}`, null);
      }
      return { kind: RECORD_KINDS.value, bytes: taken };
    }
    const room = limit === undefined ? {} : { bytesMax: limit.bytes, tooLarge: limit.tooLarge };
    const options = { what: 'the result', futures: false, sharedViews, allocate, ...room };
    return { kind: RECORD_KINDS.value, bytes: encodeValue(value, options).bytes };
  } catch (error) {
    return failed(RECORD_KINDS.resultFailed, textOf(error), null);
  }
}

function threw(error: unknown): Outcome {
  const bytes = packFailure({
    message: errorText(error),
    error: encodeError(error, { hiddenFrames: HIDDEN_FRAMES }),
    name: errorName(error),
  });
  return { kind: RECORD_KINDS.taskFailed, bytes };
}

function failed(kind: number, message: string, error: Uint8Array | null): Outcome {
  return { kind, bytes: packFailure({ message, error, name: null }) };
}

/** Errors of farm's own are sentences: the failure carries their code. */
function textOf(error: unknown): string {
  return error instanceof FarmError
    ? error.message.slice(0, LIMITS.errorTextMax)
    : errorText(error);
}

/** What a module threw while it was imported is of use to the user; the wrapper is not. */
function causeOf(error: unknown): Uint8Array | null {
  return error instanceof Error && error.cause !== undefined
    ? encodeError(error.cause, { hiddenFrames: HIDDEN_FRAMES })
    : null;
}

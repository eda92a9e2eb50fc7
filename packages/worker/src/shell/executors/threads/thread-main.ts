/** The entry of a slot's thread: takes batches of runs, executes run after run. */
import { FarmError, LIMITS, type ResourceAmounts } from '@farm/protocol/core';
import { decodeValue, encodeError, encodeValue, errorText } from '@farm/protocol/value';
import { inspect } from 'node:util';
import { workerData } from 'node:worker_threads';

import { LaneWriter, RECORD_KINDS } from './run-lane.ts';
import { setTaskContext } from './task-context.ts';
import { type TaskFunction, TaskFunctions } from './task-functions.ts';
import {
  batchPiece,
  type CrashMessage,
  packFailure,
  type RecordMessage,
  type RunsMessage,
  type ThreadBoundMessage,
  type ThreadData,
} from './thread-messages.ts';
import { redirectOutput } from './thread-output.ts';

/** Results wait in the lane for at most about this long while further runs execute. */
const NOTIFY_AFTER_MS = 0.5;
/** Characters of an error's name that are told. */
const ERROR_NAME_LENGTH_MAX = 200;

const NO_RESOURCES: ResourceAmounts = [];

/** How a run ended. */
interface Outcome {
  readonly kind: number;
  readonly bytes: Uint8Array;
}

// SAFE: the thread slot starts this file with exactly this.
const { port, lane: laneMemory, workerName } = workerData as ThreadData;
const lane = new LaneWriter(laneMemory);
const functions = new TaskFunctions(workerName);
const waiting: RunsMessage[] = [];
let isWorking = false;
let notifiedMs = 0;
let hasNews = false;
let lastKey = '';

redirectOutput(port, lane);

process.on('unhandledRejection', (reason) => {
  console.error(
    `farm: unhandled rejection in task ${lastKey}, or in an earlier one on its thread: ` +
      inspect(reason),
  );
});

// Node's own report of it would arrive as a copy that is no proper error any more.
process.on('uncaughtExceptionMonitor', (error: unknown) => {
  const message: CrashMessage = {
    crash: {
      message: `uncaught ${errorText(error)}`,
      error: encodeError(error),
      name: errorName(error),
    },
  };
  port.postMessage(message);
});

port.on('message', (message: ThreadBoundMessage) => {
  if (message.do === 'define') {
    functions.define(message.fn, message.name, message.spec);
  } else if (message.do === 'forget') {
    functions.forget(message.fns);
  } else {
    waiting.push(message);
    if (!isWorking) void work();
  }
});

async function work(): Promise<void> {
  isWorking = true;
  for (let batch = waiting.shift(); batch !== undefined; batch = waiting.shift()) {
    let piece = 0;
    for (let index = 0; index < batch.keys.length; index++) {
      const sequence = (batch.first + index) >>> 0;
      const firstPiece = piece;
      piece += 1 + (batch.inputCounts?.[index] ?? 0);
      if (lane.start(sequence)) {
        const startedMs = performance.now();
        if (batch.announce) notify(startedMs);
        lastKey = batch.keys[index] ?? '';
        setTaskContext({
          key: lastKey,
          attempt: batch.attempts?.[index] ?? 1,
          resources: batch.resources?.[index] ?? NO_RESOURCES,
        });
        // Awaited only where there is something to wait for: a turn of the microtask queue costs
        // as much as a small task.
        const running = execute(batch, firstPiece, piece);
        const outcome = running instanceof Promise ? await running : running;
        setTaskContext(undefined);
        const endedMs = performance.now();
        report(sequence, outcome, Math.min(0xffff_ffff, (endedMs - startedMs) * 1000));
        lane.pass(sequence);
        if (endedMs - notifiedMs > NOTIFY_AFTER_MS) notify(endedMs);
      } else {
        lane.pass(sequence);
      }
    }
  }
  isWorking = false;
  if (hasNews) notify(performance.now());
}

/** Decodes the arguments, calls the function and encodes its result. Never throws. */
function execute(
  batch: RunsMessage,
  firstPiece: number,
  lastPiece: number,
): Outcome | Promise<Outcome> {
  const task = functions.loaded(batch.fn);
  if (task !== undefined) return call(task, batch, firstPiece, lastPiece);
  return functions.load(batch.fn).then(
    (loaded) => call(loaded, batch, firstPiece, lastPiece),
    (error: unknown) => failed(RECORD_KINDS.functionFailed, textOf(error), causeOf(error)),
  );
}

function call(
  task: TaskFunction,
  batch: RunsMessage,
  firstPiece: number,
  lastPiece: number,
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
    return isThenable(value) ? settled(value) : succeeded(value);
  } catch (error) {
    return threw(error);
  }
}

function decodeArguments(batch: RunsMessage, firstPiece: number, lastPiece: number): unknown[] {
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

async function settled(value: PromiseLike<unknown>): Promise<Outcome> {
  try {
    return succeeded(await value);
  } catch (error) {
    return threw(error);
  }
}

function succeeded(value: unknown): Outcome {
  try {
    return {
      kind: RECORD_KINDS.value,
      bytes: encodeValue(value, { what: 'the result', futures: false }).bytes,
    };
  } catch (error) {
    return failed(RECORD_KINDS.resultFailed, textOf(error), null);
  }
}

function threw(error: unknown): Outcome {
  const bytes = packFailure({
    message: errorText(error),
    error: encodeError(error),
    name: errorName(error),
  });
  return { kind: RECORD_KINDS.taskFailed, bytes };
}

function failed(kind: number, message: string, error: Uint8Array | null): Outcome {
  return { kind, bytes: packFailure({ message, error, name: null }) };
}

/** Name of what was thrown, bounded; null where it has none. Reading it must not throw again. */
function errorName(error: unknown): string | null {
  try {
    if (!(error instanceof Error) || typeof error.name !== 'string') return null;
    return error.name === '' ? null : error.name.slice(0, ERROR_NAME_LENGTH_MAX);
  } catch {
    return null;
  }
}

/** Errors of farm's own are sentences: the failure carries their code. */
function textOf(error: unknown): string {
  return error instanceof FarmError
    ? error.message.slice(0, LIMITS.errorTextMax)
    : errorText(error);
}

/** What a module threw while it was imported is of use to the user; the wrapper is not. */
function causeOf(error: unknown): Uint8Array | null {
  return error instanceof Error && error.cause !== undefined ? encodeError(error.cause) : null;
}

function report(sequence: number, { kind, bytes }: Outcome, durationUs: number): void {
  if (lane.write(sequence, kind, durationUs, bytes)) {
    hasNews = true;
    return;
  }
  // Encoded bytes are shared with nothing, so their memory can move, unless too much of it is idle.
  const own = bytes.byteLength * 2 > bytes.buffer.byteLength ? bytes : bytes.slice();
  const message: RecordMessage = { sequence, kind, durationUs, bytes: own };
  port.postMessage(message, own.buffer instanceof ArrayBuffer ? [own.buffer] : []);
}

function notify(nowMs: number): void {
  notifiedMs = nowMs;
  hasNews = false;
  if (lane.shouldNotify()) port.postMessage(null);
}

import {
  finished,
  holding,
  inputMissing,
  lost,
  runFailed,
  seceded,
  stopped,
  type Failure,
  type WorkerMessage,
} from '@farm/protocol/core';

import type { RunEnded } from './events.ts';
import type { WorkerInstruction } from './instructions.ts';

/** A message that says what ended is full at so many runs, or bytes of values. */
const FINISHED_RUNS_MAX = 65_536;
const FINISHED_BYTES_MAX = 4_194_304;

/** Where parts of the core put instructions. */
export interface ToInstructions {
  push(instruction: WorkerInstruction): unknown;
}

/** Collects what one call of `handle` tells the scheduler, so that it leaves in few messages. */
export class Outbox {
  readonly #ended: RunEnded[] = [];
  readonly #others: WorkerMessage[] = [];
  readonly #holding: number[] = [];
  readonly #lost: number[] = [];
  readonly #stopped: number[] = [];
  readonly #kept: number[] = [];

  finished(ended: RunEnded): void {
    this.#ended.push(ended);
  }

  failed(run: number, why: Failure, durationUs: number): void {
    this.#others.push(runFailed(run, why, durationUs));
  }

  inputMissing(run: number, task: number, holders: readonly string[]): void {
    this.#others.push(inputMissing(run, task, holders));
  }

  holding(task: number): void {
    this.#holding.push(task);
  }

  lost(task: number): void {
    this.#lost.push(task);
  }

  stopped(run: number): void {
    this.#stopped.push(run);
  }

  kept(run: number): void {
    this.#kept.push(run);
  }

  seceded(run: number): void {
    this.#others.push(seceded([run]));
  }

  message(message: WorkerMessage): void {
    this.#others.push(message);
  }

  /**
   * Writes what was collected, ends before answers to `stop`, since an answer of `kept` says that
   * the run's end was or will be told.
   */
  flush(to: ToInstructions): void {
    for (const ended of split(this.#ended)) send(to, finishedMessage(ended));
    for (const message of this.#others) send(to, message);
    if (this.#lost.length > 0) send(to, lost(this.#lost.splice(0)));
    if (this.#holding.length > 0) send(to, holding(this.#holding.slice()));
    if (this.#stopped.length > 0 || this.#kept.length > 0) {
      send(to, stopped(this.#stopped.slice(), this.#kept.slice()));
    }
    this.#ended.length = 0;
    this.#others.length = 0;
    this.#holding.length = 0;
    this.#stopped.length = 0;
    this.#kept.length = 0;
  }
}

function send(to: ToInstructions, message: WorkerMessage): void {
  to.push({ do: 'to-scheduler', message });
}

/** Cuts a list into parts that each fit into a message. */
function* split(all: readonly RunEnded[]): Iterable<readonly RunEnded[]> {
  let start = 0;
  let valuesBytes = 0;
  for (const [index, { value }] of all.entries()) {
    valuesBytes += value?.byteLength ?? 0;
    if (valuesBytes < FINISHED_BYTES_MAX && index - start + 1 < FINISHED_RUNS_MAX) continue;
    yield all.slice(start, index + 1);
    start = index + 1;
    valuesBytes = 0;
  }
  if (start < all.length) yield start === 0 ? all : all.slice(start);
}

function finishedMessage(ended: readonly RunEnded[]): WorkerMessage {
  let valuesBytes = 0;
  for (const { value } of ended) valuesBytes += value?.byteLength ?? 0;
  const values = new Uint8Array(valuesBytes);
  const runs: number[] = [];
  const sizes: number[] = [];
  const ends: number[] = [];
  const durationsUs: number[] = [];
  let end = 0;
  for (const { run, sizeBytes, value, durationUs } of ended) {
    if (value !== null) {
      values.set(value, end);
      end += value.byteLength;
    }
    runs.push(run);
    sizes.push(sizeBytes);
    ends.push(end);
    durationsUs.push(durationUs);
  }
  return finished({ runs, sizes, values, ends, durationsUs });
}

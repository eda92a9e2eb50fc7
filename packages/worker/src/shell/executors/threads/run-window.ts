import type { ExecutorRun } from '../executor.ts';
import { LANE_RUNS_MAX, sequenceDistance } from './run-lane.ts';

const MASK = LANE_RUNS_MAX - 1;

interface PostedRun {
  readonly run: ExecutorRun;
  readonly bytes: number;
}

/**
 * The runs a thread has been given and whose end is not known yet, by sequence number. As many as
 * the lane has states for, and at the same places.
 */
export class RunWindow {
  readonly #posted: (PostedRun | undefined)[] = [];
  #first = 0;
  #next = 0;
  #count = 0;
  #bytes = 0;

  /** Sequence number of the next run to be given. */
  get next(): number {
    return this.#next;
  }

  get count(): number {
    return this.#count;
  }

  /** Bytes of arguments and inputs of all runs. */
  get bytes(): number {
    return this.#bytes;
  }

  /** How many runs fit. A place is free once the thread is past it and its end is known. */
  room(cursor: number): number {
    while (this.#first !== this.#next && this.#posted[this.#first & MASK] === undefined) {
      this.#first = (this.#first + 1) >>> 0;
    }
    const oldest = sequenceDistance(cursor, this.#first) < 0 ? cursor : this.#first;
    return LANE_RUNS_MAX - sequenceDistance(this.#next, oldest);
  }

  add(run: ExecutorRun, bytes: number): void {
    this.#posted[this.#next & MASK] = { run, bytes };
    this.#next = (this.#next + 1) >>> 0;
    this.#count++;
    this.#bytes += bytes;
  }

  /** Takes a run out; undefined where it is not there (any more). */
  remove(sequence: number): ExecutorRun | undefined {
    const at = sequence & MASK;
    const posted = this.#posted[at];
    if (posted === undefined) return undefined;
    this.#posted[at] = undefined;
    this.#count--;
    this.#bytes -= posted.bytes;
    return posted.run;
  }

  get(sequence: number): ExecutorRun | undefined {
    return this.#posted[sequence & MASK]?.run;
  }

  /** All runs with their sequence numbers, in order. */
  entries(): (readonly [sequence: number, run: ExecutorRun])[] {
    const entries: (readonly [number, ExecutorRun])[] = [];
    for (let sequence = this.#first; sequence !== this.#next;) {
      const run = this.get(sequence);
      if (run !== undefined) entries.push([sequence, run]);
      sequence = (sequence + 1) >>> 0;
    }
    return entries;
  }
}

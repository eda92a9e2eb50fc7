/**
 * Which part of a block each worker takes its tasks from. Neighbours in a block tend to be used
 * together (a reduction, a window, a row of chunks), so each worker works through consecutive tasks
 * of its own, and their consumers find the inputs in one place (Dask's co-assignment of root tasks
 * aims at the same).
 */
import { areSiblings } from './order.ts';
import { isInBlockQueue } from './queueing.ts';
import { recordsOf } from './state.ts';
import type { Block, WorkerState } from './state.ts';

/** Parts of others that are compared when one's own is done. */
const COMPARED_MAX = 32;

/** So many tasks of a part need not be hastened. */
const SOON = 4;
/** Tasks that are hastened on one worker; what is beyond comes in its turn. */
const HASTENED_MAX = 1_024;
/** Tasks that are used together are not separated where they are no more than this. */
const SIBLINGS_MAX = 16;

interface Part {
  readonly start: number;
  readonly owner: WorkerState;
  next: number;
  end: number;
}

/** The parts of one block. */
export class Homes {
  readonly #block: Block;
  readonly #perSlot: number;
  /** Tasks from here on are in nobody's part. */
  #unclaimed: number;
  readonly #parts = new Map<WorkerState, Part>();
  /** All of them, by `start`. */
  readonly #sorted: Part[] = [];
  /** Parts that are not done, as far as is known. */
  readonly #open: Part[] = [];
  /** Where in `#open` the next comparison begins. */
  #at = 0;
  /** Tasks that a worker takes before its part, the first of them first. */
  readonly #hastened = new Map<WorkerState, number[]>();

  constructor(block: Block, slots: number) {
    this.#block = block;
    this.#unclaimed = block.cursor;
    this.#perSlot = (block.count - block.cursor) / Math.max(1, slots);
  }

  /** The next task for a worker: of its own part, else of half of what another has left. */
  next(worker: WorkerState): number | null {
    const index = this.#nextHastened(worker);
    if (index !== null) return index;
    const own = this.#parts.get(worker);
    const next = own === undefined ? null : this.#nextIn(own);
    if (next !== null) return next;
    const part = this.#claim(worker) ?? this.#takeOver(worker);
    if (part === null) return null;
    this.#parts.set(worker, part);
    this.#open.push(part);
    this.#sorted.splice(this.#find(part.start) + 1, 0, part);
    return this.#nextIn(part);
  }

  /** A task is to be the next on a worker. */
  hastenOn(worker: WorkerState, index: number): void {
    const hastened = this.#hastenedOf(worker);
    if (hastened[0] !== index && hastened.length < HASTENED_MAX) hastened.unshift(index);
  }

  /** A task is to be done soon by the worker whose part it is in. */
  hasten(index: number): void {
    const part = this.#sorted[this.#find(index)];
    if (part === undefined || index < part.next + SOON || index >= part.end) return;
    const hastened = this.#hastenedOf(part.owner);
    if (hastened.length < HASTENED_MAX) hastened.push(index);
  }

  #hastenedOf(worker: WorkerState): number[] {
    let hastened = this.#hastened.get(worker);
    if (hastened === undefined) this.#hastened.set(worker, (hastened = []));
    return hastened;
  }

  #nextHastened(worker: WorkerState): number | null {
    const hastened = this.#hastened.get(worker);
    for (let index = hastened?.[0]; index !== undefined; index = hastened?.[0]) {
      if (isInBlockQueue(this.#block, index)) return index;
      hastened?.shift();
    }
    return null;
  }

  #nextIn(part: Part): number | null {
    for (; part.next < part.end; part.next++) {
      if (isInBlockQueue(this.#block, part.next)) return part.next;
    }
    return null;
  }

  /** Position of the last part that starts at or before an index; -1 where none does. */
  #find(index: number): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#sorted[middle]?.start ?? Infinity) <= index) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** An index near one, up to a last one, that does not separate what is used together. */
  #boundary(near: number, last: number): number {
    const tasks = recordsOf(this.#block);
    const from = Math.min(near, last);
    for (let index = from; index < Math.min(from + SIBLINGS_MAX, last); index++) {
      if (!areSiblings(tasks[index - 1], tasks[index])) return index;
    }
    return from + SIBLINGS_MAX < last ? from : last;
  }

  #claim(owner: WorkerState): Part | null {
    const start = this.#unclaimed;
    const { count } = this.#block;
    if (start >= count) return null;
    const share = this.#perSlot * owner.nthreads;
    const end = this.#boundary(Math.max(start + 1, Math.round(start + share)), count);
    this.#unclaimed = end;
    return { start, owner, next: start, end };
  }

  #takeOver(owner: WorkerState): Part | null {
    let largest: Part | null = null;
    for (let left = COMPARED_MAX; left > 0 && this.#open.length > 0; left--) {
      this.#at %= this.#open.length;
      const part = this.#open[this.#at];
      if (part === undefined || this.#nextIn(part) === null) {
        const last = this.#open.pop();
        if (last !== undefined && last !== part) this.#open[this.#at] = last;
        continue;
      }
      this.#at += 1;
      if (largest === null || part.end - part.next > largest.end - largest.next) largest = part;
    }
    if (largest === null) return null;
    const { end } = largest;
    const start = this.#boundary(Math.floor((largest.next + end) / 2), end - 1);
    largest.end = start;
    return { start, owner, next: start, end };
  }
}

import { type Failure, type Results, invariant } from '@farm/protocol';

import { IdRanges } from './id-ranges.ts';
import { waitsForTask } from './inside-task.ts';

/** State of a future. */
export type FutureStatus = 'pending' | 'finished' | 'error' | 'cancelled' | 'lost' | 'released';

const STATUSES: readonly FutureStatus[] = [
  'pending',
  'finished',
  'error',
  'cancelled',
  'lost',
  'released',
];
const PENDING = 0;
const FINISHED = 1;
const ERROR = 2;
const CANCELLED = 3;
const LOST = 4;
const RELEASED = 5;

/** Is told once a future it watches is no longer pending. */
export interface Watcher {
  /** Called once, from inside the handling of a message: be brief, do not throw. */
  settled(id: number): void;
}

/** A finished task, as the scheduler reported it. */
export interface FinishedTask {
  /** The encoded result where it came along; null where it must be fetched. */
  readonly value: Uint8Array | null;
  readonly sizeBytes: number;
  readonly durationUs: number;
  readonly worker: string;
}

const PAGE_BITS = 12;
const PAGE_SIZE = 1 << PAGE_BITS;
const PAGE_MASK = PAGE_SIZE - 1;

/** What is known of the futures whose ids share all but the last bits. */
interface Page {
  readonly states: Uint8Array;
  /** 1 + index into `chunks` of where the result is; 0 for results not here. */
  readonly chunkOf: Uint16Array;
  readonly starts: Uint32Array;
  readonly ends: Uint32Array;
  readonly sizes: Float64Array;
  readonly durationsUs: Float64Array;
  readonly workers: Uint32Array;
  /** Encoded results as they came, many in one. */
  readonly chunks: (Uint8Array | undefined)[];
  /** How many futures have their result in each chunk. */
  readonly chunkUses: number[];
  readonly failures: Map<number, Failure>;
  readonly watchers: Map<number, Watcher | readonly Watcher[]>;
  /** Futures that were allocated and not released. */
  live: number;
}

/**
 * What a client knows of its futures, by their ids. Kept in pages of typed arrays, not in an object
 * per future, so that a million futures are some tens of megabytes and a report on a thousand of
 * them is a loop. Does no IO and knows no time.
 */
export class FutureTable {
  readonly #pages = new Map<number, Page>();
  readonly #workerNames: string[] = [];
  readonly #workerNumbers = new Map<string, number>();
  /** Ids the user let go of and the scheduler was not told about. */
  readonly #released = new IdRanges();
  #next = 1;
  #pageIndex = -1;
  #page: Page | undefined;

  /** Futures that are not released. */
  get size(): number {
    let size = 0;
    for (const page of this.#pages.values()) size += page.live;
    return size;
  }

  /** Reserves `count` ids in a row, all pending. Returns the first. */
  allocate(count: number): number {
    const first = this.#next;
    invariant(first + count <= 2 ** 32, 'a client has at most 2^32 futures');
    this.#next += count;
    for (let id = first; id < first + count;) {
      const index = id >>> PAGE_BITS;
      const here = Math.min(first + count, (index + 1) * PAGE_SIZE) - id;
      let page = this.#find(id);
      if (page === undefined) {
        page = emptyPage();
        this.#pages.set(index, page);
        this.#pageIndex = -1;
      }
      page.states.fill(PENDING, id & PAGE_MASK, (id & PAGE_MASK) + here);
      page.live += here;
      id += here;
    }
    return first;
  }

  /** State of a future; one that is not known is released. */
  status(id: number): FutureStatus {
    return STATUSES[this.#state(id)] ?? 'released';
  }

  isPending(id: number): boolean {
    return this.#state(id) === PENDING;
  }

  isFinished(id: number): boolean {
    return this.#state(id) === FINISHED;
  }

  isReleased(id: number): boolean {
    return this.#state(id) === RELEASED;
  }

  /** What was reported of a finished task; undefined in any other state. */
  finished(id: number): FinishedTask | undefined {
    const page = this.#find(id);
    const at = id & PAGE_MASK;
    if (page === undefined || page.states[at] !== FINISHED) return undefined;
    return {
      value: valueAt(page, at),
      sizeBytes: page.sizes[at] ?? 0,
      durationUs: page.durationsUs[at] ?? 0,
      worker: this.#workerNames[page.workers[at] ?? 0] ?? '',
    };
  }

  /** The encoded result of a finished task where it came along; null otherwise. */
  value(id: number): Uint8Array | null {
    const page = this.#find(id);
    const at = id & PAGE_MASK;
    if (page === undefined || page.states[at] !== FINISHED) return null;
    return valueAt(page, at);
  }

  /** Why a future has no result; undefined where it has one or may still get one. */
  failure(id: number): Failure | undefined {
    return this.#find(id)?.failures.get(id);
  }

  /** Watches a pending future. */
  watch(id: number, watcher: Watcher): void {
    waitsForTask();
    const page = this.#find(id);
    invariant(page !== undefined && page.states[id & PAGE_MASK] === PENDING, 'watched: pending');
    const present = page.watchers.get(id);
    if (present === undefined) page.watchers.set(id, watcher);
    else page.watchers.set(id, [...listOf(present), watcher]);
  }

  /** Stops watching. */
  unwatch(id: number, watcher: Watcher): void {
    const page = this.#find(id);
    const present = page?.watchers.get(id);
    if (page === undefined || present === undefined) return;
    const rest = listOf(present).filter((other) => other !== watcher);
    if (rest.length === 0) page.watchers.delete(id);
    else page.watchers.set(id, rest);
  }

  /** Takes in a report of finished tasks. */
  setResults(message: Results): void {
    const { ids, ends } = message;
    const numbers = message.workers.map((name) => this.#workerNumber(name));
    // Views of a much larger frame would keep all of it alive.
    const isMostOfIt = message.values.byteLength * 2 >= message.values.buffer.byteLength;
    const values = isMostOfIt ? message.values : message.values.slice();
    let chunkPage: Page | undefined;
    let chunk = 0;
    let start = 0;
    for (let index = 0; index < ids.length; index++) {
      const id = ids[index] ?? 0;
      const end = ends[index] ?? start;
      const page = this.#find(id);
      const at = id & PAGE_MASK;
      const state = page?.states[at] ?? RELEASED;
      if (page !== undefined && state !== RELEASED && state !== CANCELLED) {
        dropValue(page, at);
        if (end > start) {
          if (page !== chunkPage || chunk === 0) {
            chunk = addChunk(page, values);
            chunkPage = page;
          }
          page.chunkOf[at] = chunk;
          page.chunkUses[chunk - 1] = (page.chunkUses[chunk - 1] ?? 0) + 1;
          page.starts[at] = start;
          page.ends[at] = end;
        }
        page.sizes[at] = message.sizes[index] ?? 0;
        page.durationsUs[at] = message.durationsUs[index] ?? 0;
        page.workers[at] = numbers[message.ranOn[index] ?? 0] ?? 0;
        this.#settle(page, id, FINISHED, undefined);
      }
      start = end;
    }
  }

  /** Takes in that tasks have no result and will get none. */
  setFailed(ids: readonly number[], why: Failure): void {
    const state = why.code === 'ERR_LOST_DATA' ? LOST : ERROR;
    for (const id of ids) this.#settleAs(id, state, why);
  }

  /** Takes in that tasks were cancelled. Those that ended before keep what they have. */
  setCancelled(ids: readonly number[], why: Failure): void {
    for (const id of ids) this.#settleAs(id, CANCELLED, why);
  }

  /** Takes in that tasks run again. */
  setPending(ids: readonly number[]): void {
    for (const id of ids) {
      const page = this.#find(id);
      const at = id & PAGE_MASK;
      const state = page?.states[at];
      if (page === undefined || state === RELEASED || state === CANCELLED) continue;
      dropValue(page, at);
      page.failures.delete(id);
      page.states[at] = PENDING;
    }
  }

  /** Settles all that is pending, for one reason: the connection is gone. */
  loseAll(why: Failure): void {
    for (const [index, page] of this.#pages) {
      for (let at = 0; at < PAGE_SIZE; at++) {
        const id = index * PAGE_SIZE + at;
        if (page.states[at] === PENDING) this.#settle(page, id, LOST, why);
      }
    }
  }

  /** Lets go of futures; those already released are passed over. Who watches one is told. */
  release(first: number, count: number): void {
    for (let id = first; id < first + count; id++) {
      const page = this.#find(id);
      const at = id & PAGE_MASK;
      if (page === undefined || page.states[at] === RELEASED) continue;
      dropValue(page, at);
      this.#settle(page, id, RELEASED, undefined);
      this.#released.add(id);
      page.live -= 1;
      if (page.live === 0 && this.#next > (id | PAGE_MASK)) this.#drop(id);
    }
  }

  /** What was released since the last call, as `[first, count, …]`. */
  takeReleased(): readonly number[] {
    return this.#released.take();
  }

  #state(id: number): number {
    return this.#find(id)?.states[id & PAGE_MASK] ?? RELEASED;
  }

  #find(id: number): Page | undefined {
    const index = id >>> PAGE_BITS;
    if (index !== this.#pageIndex) {
      this.#page = this.#pages.get(index);
      this.#pageIndex = index;
    }
    return this.#page;
  }

  #drop(id: number): void {
    this.#pages.delete(id >>> PAGE_BITS);
    this.#pageIndex = -1;
    this.#page = undefined;
  }

  #settleAs(id: number, state: number, why: Failure): void {
    const page = this.#find(id);
    const before = page?.states[id & PAGE_MASK];
    if (page === undefined || before === RELEASED || before === CANCELLED) return;
    if (state === CANCELLED && before !== PENDING) return;
    dropValue(page, id & PAGE_MASK);
    this.#settle(page, id, state, why);
  }

  #settle(page: Page, id: number, state: number, why: Failure | undefined): void {
    page.states[id & PAGE_MASK] = state;
    if (why !== undefined) page.failures.set(id, why);
    else if (page.failures.size > 0) page.failures.delete(id);
    if (page.watchers.size === 0) return;
    const watchers = page.watchers.get(id);
    if (watchers === undefined) return;
    page.watchers.delete(id);
    for (const watcher of listOf(watchers)) watcher.settled(id);
  }

  #workerNumber(name: string): number {
    const known = this.#workerNumbers.get(name);
    if (known !== undefined) return known;
    this.#workerNames.push(name);
    this.#workerNumbers.set(name, this.#workerNames.length - 1);
    return this.#workerNames.length - 1;
  }
}

function emptyPage(): Page {
  return {
    // What is not allocated yet counts as released.
    states: new Uint8Array(PAGE_SIZE).fill(RELEASED),
    chunkOf: new Uint16Array(PAGE_SIZE),
    starts: new Uint32Array(PAGE_SIZE),
    ends: new Uint32Array(PAGE_SIZE),
    sizes: new Float64Array(PAGE_SIZE),
    durationsUs: new Float64Array(PAGE_SIZE),
    workers: new Uint32Array(PAGE_SIZE),
    chunks: [],
    chunkUses: [],
    failures: new Map(),
    watchers: new Map(),
    live: 0,
  };
}

function valueAt(page: Page, at: number): Uint8Array | null {
  const chunk = page.chunkOf[at] ?? 0;
  if (chunk === 0) return null;
  return page.chunks[chunk - 1]?.subarray(page.starts[at], page.ends[at]) ?? null;
}

/** Puts a chunk into the page; returns 1 + its index. There are never more than futures. */
function addChunk(page: Page, values: Uint8Array): number {
  const isSpare = page.chunks.length >= PAGE_SIZE;
  const index = isSpare ? page.chunkUses.indexOf(0) : page.chunks.length;
  page.chunks[index] = values;
  page.chunkUses[index] = 0;
  return index + 1;
}

function dropValue(page: Page, at: number): void {
  const chunk = page.chunkOf[at] ?? 0;
  if (chunk === 0) return;
  page.chunkOf[at] = 0;
  const uses = (page.chunkUses[chunk - 1] ?? 0) - 1;
  page.chunkUses[chunk - 1] = uses;
  if (uses === 0) page.chunks[chunk - 1] = undefined;
}

function listOf(watchers: Watcher | readonly Watcher[]): readonly Watcher[] {
  return 'settled' in watchers ? [watchers] : watchers;
}

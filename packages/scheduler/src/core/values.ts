import type { ByteChunks } from './collections/byte-chunks.ts';

/** What keeping one value costs besides its bytes, as {@link ValueBudget} counts it. */
const OVERHEAD_BYTES = 100;
const ARENA_BYTES_MIN = 256;
/** Room that is made for all values of a block when its first one comes, at most. */
const FIRST_BYTES_MAX = 1_024;
/** Dead bytes are reclaimed once there are this many, and more than live ones. */
const DEAD_BYTES_MIN = 4_096;
/** To look at one task of the block costs about as much as to copy so many bytes. */
const LOOK_BYTES = 16;
const NO_BYTES = new Uint8Array(0);

/** Bounds how much all kept values take together. */
export class ValueBudget {
  readonly #bytesMax: number;
  #bytes = 0;
  #count = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Bytes counted against the bound. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Values kept. */
  get count(): number {
    return this.#count;
  }

  /** Whether a value of this size is within the bound; if so it is counted. */
  take(size: number): boolean {
    const bytes = size + OVERHEAD_BYTES;
    if (this.#bytes + bytes > this.#bytesMax) return false;
    this.#bytes += bytes;
    this.#count += 1;
    return true;
  }

  giveBack(size: number): void {
    this.#bytes -= size + OVERHEAD_BYTES;
    this.#count -= 1;
  }
}

/**
 * Values of one block, back to back in one growing buffer: a million small results are a few
 * buffers and no million objects. A value is where it begins and how long it is; both are kept by
 * its task. Bytes once handed out never change. The value of a block of one is in a chunk that it
 * shares with others.
 */
export class ValueArena {
  /** Null for a block of several tasks. */
  readonly #chunks: ByteChunks | null;
  #bytes: Uint8Array = NO_BYTES;
  #end = 0;
  #live = 0;

  /** Tasks of the block. */
  readonly #tasks: number;

  /**
   * @param tasks - How many tasks the block has.
   * @param chunks - Where the value of a block of one is put.
   */
  constructor(tasks: number, chunks: ByteChunks) {
    this.#tasks = tasks;
    this.#chunks = tasks === 1 ? chunks : null;
  }

  /** Bytes of values that were not removed. */
  get liveBytes(): number {
    return this.#live;
  }

  /** Whether so much was removed that to look for the rest among all tasks and to copy it is worth it. */
  get isSparse(): boolean {
    const dead = this.#end - this.#live;
    const most = Math.max(this.#live, DEAD_BYTES_MIN, LOOK_BYTES * this.#tasks);
    return this.#chunks === null && dead > most;
  }

  /** Copies bytes in and tells where they are. */
  add(from: Uint8Array, start: number, end: number): number {
    const size = end - start;
    if (this.#chunks !== null) {
      const kept = this.#chunks.keep(from, start, end);
      this.#bytes = kept.bytes;
      this.#live = size;
      return kept.start;
    }
    const at = this.#end;
    this.#reserve(at + size);
    if (size > 48) this.#bytes.set(from.subarray(start, end), at);
    else for (let i = 0; i < size; i++) this.#bytes[at + i] = from[start + i] ?? 0;
    this.#end = at + size;
    this.#live += size;
    return at;
  }

  /** The value, as a view that stays valid. */
  get(at: number, size: number): Uint8Array {
    return this.#bytes.subarray(at, at + size);
  }

  /** Removes a value. */
  remove(size: number): void {
    this.#live -= size;
    if (this.#live > 0) return;
    this.#bytes = NO_BYTES;
    this.#end = 0;
  }

  #reserve(needed: number): void {
    if (needed <= this.#bytes.byteLength) return;
    // The others of a small block will be of about the same size as the first.
    const first = Math.min(needed * this.#tasks, FIRST_BYTES_MAX);
    const capacity =
      this.#end === 0
        ? Math.max(ARENA_BYTES_MIN, needed, first)
        : Math.max(needed, this.#bytes.byteLength * 2);
    const grown = new Uint8Array(capacity);
    grown.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = grown;
  }
}

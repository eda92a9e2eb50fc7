/** What keeping one value costs besides its bytes, as {@link ValueBudget} counts it. */
const OVERHEAD_BYTES = 100;
const ARENA_BYTES_MIN = 256;
/** Dead bytes are reclaimed once there are this many, and more than live ones. */
const DEAD_BYTES_MIN = 4_096;
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
 * its task. Bytes once handed out never change.
 */
export class ValueArena {
  #bytes = NO_BYTES;
  #end = 0;
  #live = 0;

  /** Bytes of values that were not removed. */
  get liveBytes(): number {
    return this.#live;
  }

  /** Whether so much was removed that to copy the rest is worth its cost. */
  get isSparse(): boolean {
    return this.#end - this.#live > Math.max(this.#live, DEAD_BYTES_MIN);
  }

  /** Copies bytes in and tells where they are. */
  add(from: Uint8Array, start: number, end: number): number {
    const at = this.#end;
    const size = end - start;
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
    // The first value gets just its room: most blocks are of one task.
    const capacity =
      this.#end === 0 && needed < ARENA_BYTES_MIN
        ? needed
        : Math.max(ARENA_BYTES_MIN, needed, this.#bytes.byteLength * 2);
    const grown = new Uint8Array(capacity);
    grown.set(this.#bytes.subarray(0, this.#end));
    this.#bytes = grown;
  }
}

/** The least room; as much lies within a line or two of memory. */
const CAPACITY_MIN = 8;
/** Where no number is. */
const FREE = -1;

/**
 * A set of whole numbers from 0: open addressing, linear probing, and deletion by moving back what
 * comes after (Knuth, The Art of Computer Programming 3, 6.4, algorithm R), so that nothing has to be
 * tidied up now and then. See `ascending-map.ts` for what is wrong with a `Set` of many comings and
 * goings. Of numbers, and not of what they stand for: that is half the room, and no work for the
 * garbage collector. The order of iteration follows from the numbers and from what happened.
 */
export class NumberSet {
  /** {@link FREE} where there is none. */
  #entries: number[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(number: number): boolean {
    return this.#entries[this.#find(number)] === number;
  }

  /** Adds a number. Tells whether it was not there. */
  add(number: number): boolean {
    if (this.#size * 2 >= this.#entries.length) this.#resize(this.#entries.length * 2);
    const at = this.#find(number);
    if (this.#entries[at] === number) return false;
    this.#entries[at] = number;
    this.#size += 1;
    return true;
  }

  /** Takes a number out. Tells whether it was there. */
  delete(number: number): boolean {
    const entries = this.#entries;
    const mask = entries.length - 1;
    let hole = this.#find(number);
    if (entries[hole] !== number) return false;
    this.#size -= 1;
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const next = entries[at] ?? FREE;
      if (next === FREE) break;
      // It may move only if its own place is not between the hole and where it is.
      if (((at - this.#home(next)) & mask) < ((at - hole) & mask)) continue;
      entries[hole] = next;
      hole = at;
    }
    entries[hole] = FREE;
    const capacity = entries.length;
    if (capacity > CAPACITY_MIN && this.#size * 8 < capacity) this.#resize(capacity / 2);
    return true;
  }

  *[Symbol.iterator](): Iterator<number> {
    for (const number of this.#entries) if (number !== FREE) yield number;
  }

  /** Place of the number, or where it would be put; -1 where there is no room at all. */
  #find(number: number): number {
    const entries = this.#entries;
    const mask = entries.length - 1;
    if (mask < 0) return -1;
    let at = this.#home(number);
    for (;;) {
      const there = entries[at];
      if (there === FREE || there === number) return at;
      at = (at + 1) & mask;
    }
  }

  /** Fibonacci hashing of eights: these are spread, and eight consecutive numbers stay together. */
  #home(number: number): number {
    const spread = Math.imul(number >>> 3, 0x9e3779b1) >>> 7;
    return ((spread << 3) | (number & 7)) & (this.#entries.length - 1);
  }

  #resize(wanted: number): void {
    const before = this.#entries;
    this.#entries = new Array<number>(Math.max(CAPACITY_MIN, wanted)).fill(FREE);
    for (const number of before) {
      if (number !== FREE) this.#entries[this.#find(number)] = number;
    }
  }
}

/** What a {@link NumberedSet} holds: things that each have a whole number of their own, from 0. */
export interface Numbered {
  readonly number: number;
}

const CAPACITY_MIN = 8;
/** Where no item is. */
const FREE = -1;

/**
 * A set of things by their number: open addressing, linear probing, and deletion by moving back
 * what comes after (Knuth, The Art of Computer Programming 3, 6.4, algorithm R), so that nothing has
 * to be tidied up now and then. See `ascending-map.ts` for what is wrong with a `Set` of many comings
 * and goings. Numbers and items lie side by side. The order of iteration follows from the numbers and from what happened.
 */
export class NumberedSet<T extends Numbered> {
  /** By turns the number of an item, {@link FREE} where there is none, and the item. */
  #entries: (number | T | null)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has({ number }: T): boolean {
    return this.#entries[this.#find(number)] === number;
  }

  /** Adds an item, unless it is there. */
  add(item: T): void {
    const { number } = item;
    if (this.#size * 4 >= this.#entries.length) this.#resize(this.#entries.length);
    const entries = this.#entries;
    const at = this.#find(number);
    if (entries[at] === number) return;
    entries[at] = number;
    entries[at + 1] = item;
    this.#size += 1;
  }

  /** Takes an item out. Tells whether it was there. */
  delete({ number }: T): boolean {
    const entries = this.#entries;
    const mask = entries.length - 1;
    let hole = this.#find(number);
    if (entries[hole] !== number) return false;
    this.#size -= 1;
    for (let at = (hole + 2) & mask; ; at = (at + 2) & mask) {
      const next = entries[at];
      if (typeof next !== 'number' || next === FREE) break;
      // It may move only if its own place is not between the hole and where it is.
      if (((at - this.#home(next)) & mask) < ((at - hole) & mask)) continue;
      entries[hole] = next;
      entries[hole + 1] = entries[at + 1] ?? null;
      hole = at;
    }
    entries[hole] = FREE;
    entries[hole + 1] = null;
    const capacity = entries.length / 2;
    if (capacity > CAPACITY_MIN && this.#size * 8 < capacity) this.#resize(capacity / 2);
    return true;
  }

  *[Symbol.iterator](): Iterator<T> {
    const entries = this.#entries;
    for (let at = 1; at < entries.length; at += 2) {
      const item = entries[at];
      if (typeof item === 'object' && item !== null) yield item;
    }
  }

  /** Place of the number, or where it would be put; -2 where there is no room at all. */
  #find(number: number): number {
    const entries = this.#entries;
    const mask = entries.length - 1;
    if (mask < 0) return -2;
    let at = this.#home(number);
    for (;;) {
      const there = entries[at];
      if (there === FREE || there === number) return at;
      at = (at + 2) & mask;
    }
  }

  /** Fibonacci hashing of eights: these are spread, and eight consecutive numbers stay together. */
  #home(number: number): number {
    const spread = Math.imul(number >>> 3, 0x9e3779b1) >>> 7;
    return (((spread << 3) | (number & 7)) << 1) & (this.#entries.length - 1);
  }

  #resize(wanted: number): void {
    const before = this.#entries;
    const capacity = Math.max(CAPACITY_MIN, wanted);
    const entries: (number | T | null)[] = [];
    for (let left = capacity; left > 0; left--) entries.push(FREE, null);
    this.#entries = entries;
    for (let from = 0; from < before.length; from += 2) {
      const number = before[from];
      if (typeof number !== 'number' || number === FREE) continue;
      const at = this.#find(number);
      entries[at] = number;
      entries[at + 1] = before[from + 1] ?? null;
    }
  }
}

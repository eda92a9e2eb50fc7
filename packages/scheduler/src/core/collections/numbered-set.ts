/** What a {@link NumberedSet} holds: things that each have a whole number of their own. */
export interface Numbered {
  readonly number: number;
}

const CAPACITY_MIN = 8;

/**
 * A set of things by their number: open addressing, linear probing, and deletion by moving back
 * what comes after (Knuth, The Art of Computer Programming 3, 6.4, algorithm R), so that nothing has
 * to be tidied up now and then. See `ascending-map.ts` for what is wrong with a `Set` of many comings
 * and goings. The order of iteration follows from the numbers and from what happened.
 */
export class NumberedSet<T extends Numbered> {
  #items: (T | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has(item: T): boolean {
    return this.#items[this.#find(item)] === item;
  }

  /** Adds an item, unless it is there. */
  add(item: T): void {
    if (this.#size * 2 >= this.#items.length) this.#resize(this.#items.length * 2);
    const at = this.#find(item);
    if (this.#items[at] === item) return;
    this.#items[at] = item;
    this.#size += 1;
  }

  /** Takes an item out. Tells whether it was there. */
  delete(item: T): boolean {
    const items = this.#items;
    const mask = items.length - 1;
    let hole = this.#find(item);
    if (items[hole] !== item) return false;
    this.#size -= 1;
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const next = items[at];
      if (next === undefined) break;
      // It may move only if its own place is not between the hole and where it is.
      if (((at - this.#home(next)) & mask) < ((at - hole) & mask)) continue;
      items[hole] = next;
      hole = at;
    }
    items[hole] = undefined;
    const { length } = items;
    if (length > CAPACITY_MIN && this.#size * 8 < length) this.#resize(length / 2);
    return true;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const item of this.#items) if (item !== undefined) yield item;
  }

  /** Where the item is, or would be put; -1 where there is no room at all. */
  #find(item: T): number {
    const items = this.#items;
    const mask = items.length - 1;
    if (mask < 0) return -1;
    let at = this.#home(item);
    for (;;) {
      const there = items[at];
      if (there === undefined || there === item) return at;
      at = (at + 1) & mask;
    }
  }

  /** Fibonacci hashing: consecutive numbers are spread. */
  #home({ number }: T): number {
    return (Math.imul(number, 0x9e3779b1) >>> 7) & (this.#items.length - 1);
  }

  #resize(capacity: number): void {
    const items = this.#items;
    this.#items = new Array<T | undefined>(Math.max(CAPACITY_MIN, capacity)).fill(undefined);
    for (const item of items) if (item !== undefined) this.#items[this.#find(item)] = item;
  }
}

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
 * and goings. The order of iteration follows from the numbers and from what happened.
 */
export class NumberedSet<T extends Numbered> {
  /** Numbers of the items, {@link FREE} where there is none: looking for one touches no other. */
  #numbers: number[] = [];
  #items: (T | undefined)[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  has({ number }: T): boolean {
    return this.#numbers[this.#find(number)] === number;
  }

  /** Adds an item, unless it is there. */
  add(item: T): void {
    const { number } = item;
    if (this.#size * 2 >= this.#numbers.length) this.#resize(this.#numbers.length * 2);
    const at = this.#find(number);
    if (this.#numbers[at] === number) return;
    this.#numbers[at] = number;
    this.#items[at] = item;
    this.#size += 1;
  }

  /** Takes an item out. Tells whether it was there. */
  delete({ number }: T): boolean {
    const numbers = this.#numbers;
    const items = this.#items;
    const mask = numbers.length - 1;
    let hole = this.#find(number);
    if (numbers[hole] !== number) return false;
    this.#size -= 1;
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const next = numbers[at] ?? FREE;
      if (next === FREE) break;
      // It may move only if its own place is not between the hole and where it is.
      if (((at - this.#home(next)) & mask) < ((at - hole) & mask)) continue;
      numbers[hole] = next;
      items[hole] = items[at];
      hole = at;
    }
    numbers[hole] = FREE;
    items[hole] = undefined;
    const { length } = numbers;
    if (length > CAPACITY_MIN && this.#size * 8 < length) this.#resize(length / 2);
    return true;
  }

  *[Symbol.iterator](): Iterator<T> {
    for (const item of this.#items) if (item !== undefined) yield item;
  }

  /** Where the number is, or would be put; -1 where there is no room at all. */
  #find(number: number): number {
    const numbers = this.#numbers;
    const mask = numbers.length - 1;
    if (mask < 0) return -1;
    let at = this.#home(number);
    for (;;) {
      const there = numbers[at];
      if (there === FREE || there === number) return at;
      at = (at + 1) & mask;
    }
  }

  /** Fibonacci hashing of eights: these are spread, and eight consecutive numbers stay together. */
  #home(number: number): number {
    const spread = Math.imul(number >>> 3, 0x9e3779b1) >>> 7;
    return ((spread << 3) | (number & 7)) & (this.#numbers.length - 1);
  }

  #resize(wanted: number): void {
    const items = this.#items;
    const capacity = Math.max(CAPACITY_MIN, wanted);
    this.#numbers = new Array<number>(capacity).fill(FREE);
    this.#items = new Array<T | undefined>(capacity).fill(undefined);
    for (const item of items) {
      if (item === undefined) continue;
      const at = this.#find(item.number);
      this.#numbers[at] = item.number;
      this.#items[at] = item;
    }
  }
}

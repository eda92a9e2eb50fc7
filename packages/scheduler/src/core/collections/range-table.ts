/** What a {@link RangeTable} holds: something that stands for `count` consecutive numbers. */
export interface NumberRange {
  readonly first: number;
  readonly count: number;
}

/** Removed entries are kept until there are this many, and more than there are others. */
const REMOVED_MIN = 64;

/**
 * Disjoint ranges of numbers, found by any number in them. A million numbers in one range cost one
 * entry. Ranges mostly arrive in ascending order, which makes adding one cheap; finding one is a
 * binary search; removing one is cheap on average.
 */
export class RangeTable<T extends NumberRange> {
  #firsts: number[] = [];
  #items: (T | null)[] = [];
  #end = 0;
  #removed = 0;

  /** How many ranges it holds. */
  get size(): number {
    return this.#items.length - this.#removed;
  }

  /** Adds a range. The caller has checked that none of its numbers is in the table. */
  add(item: T): void {
    if (item.first >= this.#end) {
      this.#firsts.push(item.first);
      this.#items.push(item);
    } else {
      // Removed entries still take part in the search; among them an old number could hide a new.
      this.#compact();
      const at = this.#floor(item.first) + 1;
      this.#firsts.splice(at, 0, item.first);
      this.#items.splice(at, 0, item);
    }
    this.#end = Math.max(this.#end, item.first + item.count);
  }

  /** The range that `number` is in. */
  find(number: number): T | undefined {
    const item = this.#items[this.#floor(number)];
    if (item === undefined || item === null) return undefined;
    return number < item.first + item.count ? item : undefined;
  }

  /** The ranges that share a number with `first … first + count`, in ascending order. */
  overlapping(first: number, count: number): T[] {
    const end = first + count;
    const from = Math.max(0, this.#floor(first));
    const start = this.#items[from] ?? null;
    // Mostly it is one.
    const isFound = start !== null && start.first < end && start.first + start.count > first;
    const found = isFound ? [start] : [];
    for (let at = from + 1; at < this.#items.length; at++) {
      const item = this.#items[at];
      if ((this.#firsts[at] ?? end) >= end) break;
      if (item !== null && item !== undefined) found.push(item);
    }
    return found;
  }

  /** Removes a range that is in the table. */
  delete(item: T): void {
    const at = this.#floor(item.first);
    if (this.#items[at] !== item) return;
    this.#items[at] = null;
    this.#removed += 1;
    if (this.#removed > REMOVED_MIN && this.#removed * 2 > this.#items.length) this.#compact();
  }

  /** The ranges in ascending order. */
  *[Symbol.iterator](): Iterator<T> {
    for (const item of this.#items) if (item !== null) yield item;
  }

  /** Index of the last entry that begins at or before `number`; -1 where there is none. */
  #floor(number: number): number {
    const firsts = this.#firsts;
    let low = 0;
    let high = firsts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((firsts[middle] ?? 0) <= number) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #compact(): void {
    const items = this.#items.filter((item) => item !== null);
    this.#items = items;
    this.#firsts = items.map((item) => item.first);
    const last = items.at(-1);
    this.#end = last === undefined ? 0 : last.first + last.count;
    this.#removed = 0;
  }
}

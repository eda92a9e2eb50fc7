/** Deleted entries are kept until there are this many, and more than there are others. */
const DELETED_MIN = 16;

/**
 * A map whose keys are numbers that only ever grow, in order of insertion. It costs less than a
 * `Map`, above all in garbage: a `Map` makes itself a new table after so many deletions, and the old
 * table, once it has grown old, keeps the new one and what was in it alive until the next full
 * garbage collection, and so on from table to table.
 */
export class AscendingMap<T extends object> {
  readonly #keys: number[] = [];
  readonly #items: (T | null)[] = [];
  /** Entries before it are deleted. */
  #head = 0;
  #deleted = 0;

  get size(): number {
    return this.#keys.length - this.#deleted;
  }

  /** Adds an entry; its key is above all that were added before. */
  set(key: number, item: T): void {
    this.#keys.push(key);
    this.#items.push(item);
  }

  get(key: number): T | undefined {
    return this.#items[this.#find(key)] ?? undefined;
  }

  has(key: number): boolean {
    return this.get(key) !== undefined;
  }

  /** Takes an entry out. Tells whether it was there. */
  delete(key: number): boolean {
    const at = this.#find(key);
    const items = this.#items;
    if ((items[at] ?? null) === null) return false;
    items[at] = null;
    this.#deleted += 1;
    while (this.#head < items.length && items[this.#head] === null) this.#head += 1;
    if (this.#deleted === items.length) this.clear();
    else if (this.#deleted > DELETED_MIN && this.#deleted * 2 > items.length) this.#compact();
    return true;
  }

  clear(): void {
    this.#keys.length = 0;
    this.#items.length = 0;
    this.#head = 0;
    this.#deleted = 0;
  }

  /** The items, in order of their keys. */
  *values(): Iterable<T> {
    for (const item of this.#items) if (item !== null) yield item;
  }

  /** Index of the key; -1 where it never was there, or was deleted some time ago. */
  #find(key: number): number {
    const keys = this.#keys;
    let low = this.#head;
    // What was put in first mostly ends first.
    if (keys[low] === key) return low;
    let high = keys.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((keys[middle] ?? 0) < key) low = middle + 1;
      else high = middle;
    }
    return keys[low] === key ? low : -1;
  }

  #compact(): void {
    let to = 0;
    for (let from = this.#head; from < this.#items.length; from++) {
      const item = this.#items[from];
      if (item === null || item === undefined) continue;
      this.#items[to] = item;
      this.#keys[to] = this.#keys[from] ?? 0;
      to += 1;
    }
    this.#items.length = to;
    this.#keys.length = to;
    this.#head = 0;
    this.#deleted = 0;
  }
}

/** Deleted entries are kept until there are this many, and more than there are others. */
const DELETED_MIN = 16;
/** An empty map keeps room for half as many entries. */
const KEPT_MAX = 64;

/**
 * A map whose keys are numbers that only ever grow, in order of insertion. It costs less than a
 * `Map`, above all in garbage: a `Map` makes itself a new table after so many deletions, and the old
 * table, once it has grown old, keeps the new one and what was in it alive until the next full
 * garbage collection, and so on from table to table. Keys and items lie side by side: of thousands of
 * such maps, each is looked at now and then.
 */
export class AscendingMap<T extends object> {
  /** By turns a key and its item, which is null once it is deleted. */
  readonly #entries: (number | T | null)[] = [];
  /** Entries before it are deleted; a place in `#entries`. */
  #head = 0;
  /** Where the next entry goes. Room beyond is kept: an array that is cut short loses it. */
  #end = 0;
  #deleted = 0;

  get size(): number {
    return this.#end / 2 - this.#deleted;
  }

  /** Adds an entry; its key is above all that were added before. */
  set(key: number, item: T): void {
    const entries = this.#entries;
    entries[this.#end] = key;
    entries[this.#end + 1] = item;
    this.#end += 2;
  }

  get(key: number): T | undefined {
    return this.#item(this.#find(key)) ?? undefined;
  }

  has(key: number): boolean {
    return this.get(key) !== undefined;
  }

  /** Takes an entry out. Tells whether it was there. */
  delete(key: number): boolean {
    const at = this.#find(key);
    const entries = this.#entries;
    if (at < 0 || entries[at + 1] === null) return false;
    entries[at + 1] = null;
    this.#deleted += 1;
    while (this.#head < this.#end && entries[this.#head + 1] === null) this.#head += 2;
    if (this.#deleted * 2 === this.#end) this.clear();
    else if (this.#deleted > DELETED_MIN && this.#deleted * 4 > this.#end) this.#compact();
    return true;
  }

  clear(): void {
    if (this.#end > KEPT_MAX) this.#entries.length = 0;
    else this.#entries.fill(null, 0, this.#end);
    this.#head = 0;
    this.#end = 0;
    this.#deleted = 0;
  }

  /** The items, in order of their keys. */
  *values(): Iterable<T> {
    for (let at = this.#head; at < this.#end; at += 2) {
      const item = this.#item(at);
      if (item !== null) yield item;
    }
  }

  #item(at: number): T | null {
    // SAFE: what follows a key is its item. Before the first there is nothing.
    return (this.#entries[at + 1] ?? null) as T | null;
  }

  /** Place of the key; -2 where it never was there, or was deleted some time ago. */
  #find(key: number): number {
    const entries = this.#entries;
    let low = this.#head;
    // What was put in first mostly ends first.
    if (low < this.#end && entries[low] === key) return low;
    let high = this.#end;
    while (low < high) {
      const middle = ((low + high) >>> 2) << 1;
      // SAFE: there is a key at each even place.
      if ((entries[middle] as number) < key) low = middle + 2;
      else high = middle;
    }
    return low < this.#end && entries[low] === key ? low : -2;
  }

  #compact(): void {
    const entries = this.#entries;
    let to = 0;
    for (let from = this.#head; from < this.#end; from += 2) {
      const item = this.#item(from);
      if (item === null) continue;
      entries[to] = entries[from] ?? 0;
      entries[to + 1] = item;
      to += 2;
    }
    // What was moved is not to be kept alive from where it was.
    entries.length = to;
    this.#head = 0;
    this.#end = to;
    this.#deleted = 0;
  }
}

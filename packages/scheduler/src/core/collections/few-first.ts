import { AscendingMap } from './ascending-map.ts';

/** Entries that are in the map's own record. */
const OWN_MAX = 8;

/**
 * A map whose keys are numbers that only ever grow, in order of insertion, that mostly has few
 * entries: these are elements of the object itself, without holes. It is to be the base of a record
 * of which there are thousands, each looked at now and then, and spares two places that would have to
 * be fetched from memory before an item is found: that of a map and that of its list. What does not
 * fit in goes to a map of its own.
 */
export class FewFirst<T extends object> {
  /** By turns a key and its item; null where there is none. */
  [at: number]: number | T | null;
  /** Where the next own entry goes. */
  #end = 0;
  /** Those after them; null where there are none. */
  #more: AscendingMap<T> | null = null;

  constructor() {
    // All get room for as many, at once.
    for (let at = 0; at < 2 * OWN_MAX; at++) this[at] = null;
  }

  get size(): number {
    return this.#end / 2 + (this.#more?.size ?? 0);
  }

  /** Adds an entry; its key is above all that were added before. */
  set(key: number, item: T): void {
    if (this.#more === null && this.#end < 2 * OWN_MAX) {
      this[this.#end] = key;
      this[this.#end + 1] = item;
      this.#end += 2;
    } else {
      this.#more ??= new AscendingMap();
      this.#more.set(key, item);
    }
  }

  get(key: number): T | undefined {
    const at = this.#find(key);
    // SAFE: what follows a key is its item.
    return at < 0 ? this.#more?.get(key) : (this[at + 1] as T);
  }

  has(key: number): boolean {
    return this.get(key) !== undefined;
  }

  /** Takes an entry out. Tells whether it was there. */
  delete(key: number): boolean {
    const at = this.#find(key);
    if (at < 0) {
      const isThere = this.#more?.delete(key) ?? false;
      if (this.#more?.size === 0) this.#more = null;
      return isThere;
    }
    const end = this.#end - 2;
    for (let to = at; to < end; to += 2) {
      this[to] = this[to + 2] ?? null;
      this[to + 1] = this[to + 3] ?? null;
    }
    this[end + 1] = null;
    this.#end = end;
    return true;
  }

  clear(): void {
    for (let at = 0; at < this.#end; at++) this[at] = null;
    this.#end = 0;
    this.#more = null;
  }

  /** The items, in order of their keys. */
  *values(): Iterable<T> {
    // SAFE: there is an item at each odd place.
    for (let at = 0; at < this.#end; at += 2) yield this[at + 1] as T;
    if (this.#more !== null) yield* this.#more.values();
  }

  /** Place of the key; -1 where it is not in the record. */
  #find(key: number): number {
    for (let at = 0; at < this.#end; at += 2) if (this[at] === key) return at;
    return -1;
  }
}

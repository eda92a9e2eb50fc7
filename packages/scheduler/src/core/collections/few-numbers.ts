import { NumberSet } from './number-set.ts';

/** Numbers that are in the set's own record. */
const OWN_MAX = 16;
/** Where no number is. */
const NONE = -1;

/**
 * A set of whole numbers from 0 that mostly has few of them: these are elements of the object itself,
 * without holes, for why see `few-first.ts`. What does not fit in goes to a set of its own. The order
 * of iteration follows from what happened.
 */
export class FewNumbers {
  [at: number]: number;
  /** How many of the elements are numbers of the set. */
  #own = 0;
  /** The others; null where there are none. */
  #more: NumberSet | null = null;

  constructor() {
    // All get room for as many, at once.
    for (let at = 0; at < OWN_MAX; at++) this[at] = NONE;
  }

  get size(): number {
    return this.#own + (this.#more?.size ?? 0);
  }

  has(number: number): boolean {
    return this.#find(number) >= 0 || (this.#more?.has(number) ?? false);
  }

  /** Adds a number. Tells whether it was not there. */
  add(number: number): boolean {
    if (this.has(number)) return false;
    if (this.#own < OWN_MAX) {
      this[this.#own] = number;
      this.#own += 1;
    } else {
      this.#more ??= new NumberSet();
      this.#more.add(number);
    }
    return true;
  }

  /** Takes a number out. Tells whether it was there. */
  delete(number: number): boolean {
    const at = this.#find(number);
    if (at < 0) {
      const isThere = this.#more?.delete(number) ?? false;
      if (this.#more?.size === 0) this.#more = null;
      return isThere;
    }
    this.#own -= 1;
    this[at] = this[this.#own] ?? NONE;
    this[this.#own] = NONE;
    return true;
  }

  *[Symbol.iterator](): Iterator<number> {
    for (let at = 0; at < this.#own; at++) yield this[at] ?? NONE;
    if (this.#more !== null) yield* this.#more;
  }

  /** Place of the number; -1 where it is not in the record. */
  #find(number: number): number {
    for (let at = 0; at < this.#own; at++) if (this[at] === number) return at;
    return -1;
  }
}

/** Up to this many objects a scan of a list is faster than a hash table. */
const SCANNED_MAX = 16;

/**
 * Numbers objects by first appearance. Made to be reused: a small value leaves nothing to
 * allocate or to collect.
 */
export class IdentityTable {
  #scanned: (object | undefined)[] = [];
  #hashed: Map<object, number> | undefined;
  #count = 0;

  /** How many objects have a number. */
  get count(): number {
    return this.#count;
  }

  /** The number of `object`, or -1. */
  indexOf(object: object): number {
    if (this.#hashed !== undefined) return this.#hashed.get(object) ?? -1;
    const scanned = this.#scanned;
    for (let index = 0; index < this.#count; index++) {
      if (scanned[index] === object) return index;
    }
    return -1;
  }

  /** Gives `object`, which has none yet, the next number. */
  add(object: object): void {
    if (this.#hashed !== undefined) {
      this.#hashed.set(object, this.#count++);
      return;
    }
    this.#scanned[this.#count++] = object;
    if (this.#count > SCANNED_MAX) this.#startHashing();
  }

  /** Forgets every object. */
  reset(): void {
    const scannedCount = Math.min(this.#count, SCANNED_MAX + 1);
    for (let index = 0; index < scannedCount; index++) this.#scanned[index] = undefined;
    this.#hashed = undefined;
    this.#count = 0;
  }

  #startHashing(): void {
    const hashed = new Map<object, number>();
    for (const object of this.#scanned) if (object !== undefined) hashed.set(object, hashed.size);
    this.#hashed = hashed;
  }
}

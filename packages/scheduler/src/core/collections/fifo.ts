/** Taken entries are kept until there are this many, and more than there are others. */
const TAKEN_MIN = 64;

/** First in, first out; both ends at constant cost on average. */
export class Fifo<T> {
  #items: T[] = [];
  #taken = 0;

  /** How many items are in it. */
  get size(): number {
    return this.#items.length - this.#taken;
  }

  /** Adds one at the end. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** Takes the first; undefined where there is none. */
  shift(): T | undefined {
    const item = this.#items[this.#taken];
    if (this.#taken === this.#items.length) return undefined;
    this.#taken += 1;
    if (this.#taken > TAKEN_MIN && this.#taken * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#taken);
      this.#taken = 0;
    }
    return item;
  }

  /** The first `count` items, which stay. */
  peek(count: number): T[] {
    return this.#items.slice(this.#taken, this.#taken + count);
  }

  /** The items, first to last. */
  [Symbol.iterator](): Iterator<T> {
    return this.#items.slice(this.#taken).values();
  }
}

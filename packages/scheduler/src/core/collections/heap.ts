/** A binary heap: the least item by `isLess` is on top. Ties come out in no particular order. */
export class Heap<T> {
  readonly #items: T[] = [];
  readonly #isLess: (a: T, b: T) => boolean;

  constructor(isLess: (a: T, b: T) => boolean) {
    this.#isLess = isLess;
  }

  /** How many items it holds. */
  get size(): number {
    return this.#items.length;
  }

  /** The items in no particular order. */
  items(): readonly T[] {
    return this.#items;
  }

  /** The least item, which stays. */
  peek(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.length;
    items.push(item);
    while (at > 0) {
      const parent = (at - 1) >>> 1;
      const above = items[parent];
      if (above === undefined || !this.#isLess(item, above)) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  /** Takes the least item out. */
  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return top;
    this.#sink(last);
    return top;
  }

  clear(): void {
    this.#items.length = 0;
  }

  /** Puts `item` on top, where there is none, and lets it sink to its place. */
  #sink(item: T): void {
    const items = this.#items;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      let below = items[child];
      if (below === undefined) break;
      const right = items[child + 1];
      if (right !== undefined && this.#isLess(right, below)) {
        child += 1;
        below = right;
      }
      if (!this.#isLess(below, item)) break;
      items[at] = below;
      at = child;
    }
    items[at] = item;
  }
}

/** A set of small whole numbers, one bit for each up to the largest. */
export class BitSet {
  readonly #words: number[] = [];

  has(number: number): boolean {
    return ((this.#words[number >>> 5] ?? 0) & (1 << (number & 31))) !== 0;
  }

  /** Adds a number. Tells whether it was not there. */
  add(number: number): boolean {
    if (this.has(number)) return false;
    const at = number >>> 5;
    while (this.#words.length <= at) this.#words.push(0);
    this.#words[at] = (this.#words[at] ?? 0) | (1 << (number & 31));
    return true;
  }

  delete(number: number): void {
    if (this.has(number))
      this.#words[number >>> 5] = (this.#words[number >>> 5] ?? 0) ^ (1 << (number & 31));
  }
}

/** Collects ids as ranges: what comes in order, as releases mostly do, stays small. */
export class IdRanges {
  #ranges: number[] = [];

  get isEmpty(): boolean {
    return this.#ranges.length === 0;
  }

  /** Adds one id. */
  add(id: number): void {
    const ranges = this.#ranges;
    const end = ranges.length;
    const first = ranges[end - 2];
    const count = ranges[end - 1];
    if (first !== undefined && count !== undefined && first + count === id) {
      ranges[end - 1] = count + 1;
      return;
    }
    ranges.push(id, 1);
  }

  /** Hands over `[first, count, first, count, …]`, ascending and joined, and starts anew. */
  take(): readonly number[] {
    const ranges = this.#ranges;
    this.#ranges = [];
    if (ranges.length <= 2) return ranges;
    const pairs: (readonly [first: number, count: number])[] = [];
    for (let at = 0; at < ranges.length; at += 2)
      pairs.push([ranges[at] ?? 0, ranges[at + 1] ?? 0]);
    pairs.sort(([one], [other]) => one - other);
    const joined: number[] = [];
    for (const [first, count] of pairs) {
      const end = joined.length;
      const lastFirst = joined[end - 2] ?? Number.NaN;
      const lastCount = joined[end - 1] ?? Number.NaN;
      if (lastFirst + lastCount === first) joined[end - 1] = lastCount + count;
      else joined.push(first, count);
    }
    return joined;
  }
}

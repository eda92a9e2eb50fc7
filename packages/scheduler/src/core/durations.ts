/** How many prefixes are remembered; the one that was heard of longest ago is forgotten first. */
const PREFIXES_MAX = 10_000;

/** What is known of how long tasks of one function run. */
export class Prefix {
  readonly name: string;
  /** Moving average, whole microseconds; null before the first task ended. */
  meanUs: number | null = null;

  constructor(name: string) {
    this.name = name;
  }

  /**
   * Learns from `count` tasks that took `totalUs` together. Exponential average, half old and half
   * new; tasks reported together count as one sample, so that one outlier is not the last word.
   */
  learn(totalUs: number, count: number): void {
    const sampleUs = totalUs / count;
    const meanUs = this.meanUs === null ? sampleUs : (this.meanUs + sampleUs) / 2;
    this.meanUs = Math.max(1, Math.round(meanUs));
  }
}

/** Duration estimates by function name. They outlive the tasks, and are bounded in number. */
export class Durations {
  readonly #prefixes = new Map<string, Prefix>();

  /** The estimate for a name, made where there is none. */
  get(name: string): Prefix {
    let prefix = this.#prefixes.get(name);
    if (prefix === undefined) prefix = new Prefix(name);
    else this.#prefixes.delete(name);
    this.#prefixes.set(name, prefix);
    if (this.#prefixes.size > PREFIXES_MAX) {
      for (const oldest of this.#prefixes.keys()) {
        this.#prefixes.delete(oldest);
        break;
      }
    }
    return prefix;
  }
}

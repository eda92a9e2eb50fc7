/** How often a worker with a memory limit looks at its resident memory. */
const SAMPLE_MS = 200;
/** What was collected has gone back to the system after so long: other threads see to it. */
const COLLECTED_MS = 25;

/** Tells how much memory this process takes, again and again, until it is disposed of. */
export class MemoryWatch implements Disposable {
  readonly #tell: (rssBytes: number) => void;
  readonly #timer: NodeJS.Timeout;
  #soon: NodeJS.Timeout | undefined;

  constructor(tell: (rssBytes: number) => void) {
    this.#tell = tell;
    this.#timer = setInterval(() => this.#look(), SAMPLE_MS);
    this.#timer.unref();
  }

  /** Memory was collected that somebody may wait for: looks at it as soon as it has gone. */
  collected(): void {
    this.#soon ??= setTimeout(() => this.#look(), COLLECTED_MS);
    this.#soon.unref();
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    clearTimeout(this.#soon);
  }

  #look(): void {
    clearTimeout(this.#soon);
    this.#soon = undefined;
    this.#tell(process.memoryUsage.rss());
  }
}

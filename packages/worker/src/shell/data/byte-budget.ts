/**
 * Lets work begin for as long as what goes on takes no more than so many bytes together, in the
 * order in which it came. One always goes on, however large.
 */
export class ByteBudget {
  readonly #maxBytes: number;
  readonly #waiting: { readonly bytes: number; readonly begin: () => void }[] = [];
  #takenBytes = 0;
  #going = 0;

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes;
  }

  /** Does the work when there is room for its bytes; they are free again when it has ended. */
  async spend<T>(bytes: number, work: () => Promise<T>): Promise<T> {
    if (this.#waiting.length > 0 || !this.#hasRoom(bytes)) {
      await new Promise<void>((begin) => this.#waiting.push({ bytes, begin }));
    } else this.#take(bytes);
    try {
      return await work();
    } finally {
      this.#takenBytes -= bytes;
      this.#going -= 1;
      for (let [next] = this.#waiting; next !== undefined; [next] = this.#waiting) {
        if (!this.#hasRoom(next.bytes)) break;
        this.#waiting.shift();
        this.#take(next.bytes);
        next.begin();
      }
    }
  }

  #hasRoom(bytes: number): boolean {
    return this.#going === 0 || this.#takenBytes + bytes <= this.#maxBytes;
  }

  #take(bytes: number): void {
    this.#takenBytes += bytes;
    this.#going += 1;
  }
}

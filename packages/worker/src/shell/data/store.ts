/** The results and inputs this worker holds: encoded values by the number of their task. */
export class Store {
  readonly #values = new Map<number, Uint8Array>();
  #totalBytes = 0;

  /** Number of values. */
  get size(): number {
    return this.#values.size;
  }

  /** Sum of the values' sizes. */
  get totalBytes(): number {
    return this.#totalBytes;
  }

  /** Keeps a value; the store owns its bytes from here on. An earlier one is replaced. */
  set(task: number, value: Uint8Array): void {
    this.#totalBytes += value.byteLength - (this.#values.get(task)?.byteLength ?? 0);
    this.#values.set(task, value);
  }

  get(task: number): Uint8Array | undefined {
    return this.#values.get(task);
  }

  /** Forgets values; unknown ones are passed over. */
  drop(tasks: readonly number[]): void {
    for (const task of tasks) {
      const value = this.#values.get(task);
      if (value === undefined) continue;
      this.#totalBytes -= value.byteLength;
      this.#values.delete(task);
    }
  }

  clear(): void {
    this.#values.clear();
    this.#totalBytes = 0;
  }
}

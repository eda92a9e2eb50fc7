/** Smaller values are not worth the trouble. */
const BYTES_MIN = 1_048_576;

/**
 * How much memory values still take that the store has given up: whoever sends or reads one holds it until
 * that is done, and then it is there until the engine collects it. The engine tells when it has.
 */
export class GivenUpMemory {
  readonly #collected = new FinalizationRegistry<number>((sizeBytes) => (this.#bytes -= sizeBytes));
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** The store has no use for this value any more. One that has moved to a thread is empty. */
  add(value: Uint8Array): void {
    if (value.byteLength < BYTES_MIN) return;
    this.#bytes += value.byteLength;
    this.#collected.register(value.buffer, value.byteLength);
  }
}

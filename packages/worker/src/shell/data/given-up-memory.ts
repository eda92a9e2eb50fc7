/** Smaller values are not worth the trouble. */
const BYTES_MIN = 1_048_576;

/** Memory that was given up, and who counts it. */
interface GivenUp {
  readonly by: GivenUpMemory;
  readonly sizeBytes: number;
}

/**
 * How much memory values still take that the store has given up: whoever sends or reads one holds it until
 * that is done, and then it is there until the engine collects it. The engine tells when it has.
 */
export class GivenUpMemory {
  /**
   * One for all, as long as the process lives. Where a registry is garbage itself while it has something
   * to tell, V8 before Node 26 tells nothing any more, of no registry of the process.
   */
  static readonly #collected = new FinalizationRegistry<GivenUp>(({ by, sizeBytes }) => {
    by.#bytes -= sizeBytes;
  });
  #bytes = 0;

  get bytes(): number {
    return this.#bytes;
  }

  /** The store has no use for this value any more. One that has moved to a thread is empty. */
  add(value: Uint8Array): void {
    const sizeBytes = value.byteLength;
    if (sizeBytes < BYTES_MIN) return;
    this.#bytes += sizeBytes;
    GivenUpMemory.#collected.register(value.buffer, { by: this, sizeBytes });
  }
}

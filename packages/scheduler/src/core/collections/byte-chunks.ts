/** Bytes of a chunk: what stays for long may keep so many alive. */
const CHUNK_BYTES = 4_096;
/** More than that is kept alone. */
const SHARED_BYTES_MAX = 512;

/** Where some bytes are kept. */
export interface KeptBytes {
  readonly bytes: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/**
 * Copies of small byte strings, side by side: kept each for itself, a string of 40 bytes takes 260
 * besides. A chunk is there for as long as anybody refers to it. Bytes once kept never change.
 */
export class ByteChunks {
  #chunk = new Uint8Array(CHUNK_BYTES);
  #end = 0;

  /** Keeps a copy. */
  keep(from: Uint8Array): KeptBytes {
    const { byteLength } = from;
    if (byteLength > SHARED_BYTES_MAX) {
      return { bytes: new Uint8Array(from), start: 0, end: byteLength };
    }
    if (this.#end + byteLength > CHUNK_BYTES) {
      this.#chunk = new Uint8Array(CHUNK_BYTES);
      this.#end = 0;
    }
    const bytes = this.#chunk;
    const start = this.#end;
    bytes.set(from, start);
    this.#end += byteLength;
    return { bytes, start, end: this.#end };
  }
}

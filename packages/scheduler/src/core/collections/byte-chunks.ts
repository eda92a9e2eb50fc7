/** Bytes of a chunk: what stays for long may keep so many alive. */
const CHUNK_BYTES = 4_096;
/** More than that is kept alone. */
const SHARED_BYTES_MAX = 512;

/** Up to so many a loop is faster than a view of them. */
const LOOPED_BYTES_MAX = 128;

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

  /** Keeps a copy of the bytes between two places. */
  keep(from: Uint8Array, first = 0, end: number = from.byteLength): KeptBytes {
    const byteLength = end - first;
    if (byteLength > SHARED_BYTES_MAX) {
      return { bytes: new Uint8Array(from.subarray(first, end)), start: 0, end: byteLength };
    }
    if (this.#end + byteLength > CHUNK_BYTES) {
      this.#chunk = new Uint8Array(CHUNK_BYTES);
      this.#end = 0;
    }
    const bytes = this.#chunk;
    const start = this.#end;
    if (byteLength > LOOPED_BYTES_MAX) bytes.set(from.subarray(first, end), start);
    else for (let at = 0; at < byteLength; at++) bytes[start + at] = from[first + at] ?? 0;
    this.#end += byteLength;
    return { bytes, start, end: this.#end };
  }
}

import { FarmError } from '../core/errors.ts';
import { ByteSink } from './byte-sink.ts';
import { ValueEncoder } from './encoder.ts';

const CAPACITY = 1_024;
const ENDS_CAPACITY = 64;

/** The values of a {@link ValueColumn}, ready to be sent. */
export interface EncodedColumn {
  /** The encoded values, one after another. */
  readonly bytes: Uint8Array;
  /** For each value a u32, little-endian: the offset in `bytes` at which it ends. */
  readonly ends: Uint8Array;
}

/**
 * Many encoded values in one growing buffer, with the offsets between them: the arguments of a
 * map. Appending a small value allocates nothing, and whoever holds the column can cut out value
 * `i` (`bytes.subarray(ends[i - 1], ends[i])`) and pass it on without decoding it.
 *
 * @example
 * const column = new ValueColumn();
 * for (const row of rows) column.append([row], `row ${column.count}`);
 * const { bytes, ends } = column.take();
 */
export class ValueColumn {
  #sink = new ByteSink(CAPACITY);
  #encoder = new ValueEncoder(this.#sink);
  #ends = new DataView(new ArrayBuffer(4 * ENDS_CAPACITY));
  #count = 0;

  /** How many values it holds. */
  get count(): number {
    return this.#count;
  }

  /** Their size when encoded, in bytes. */
  get byteLength(): number {
    return this.#sink.position;
  }

  /**
   * Adds a value at the end. If it cannot travel, the column stays as it was.
   *
   * @param what - begins error messages. @default 'value'
   * @returns the futures in it, in order of first appearance, each once
   * @throws FarmError `ERR_VALUE`, naming the path inside the value
   */
  append(value: unknown, what = 'value'): readonly object[] {
    if (this.#encoder.isBusy) {
      throw new FarmError('ERR_VALUE', `${what}: a getter appends to the column it is read for`);
    }
    if (4 * this.#count === this.#ends.byteLength) this.#growEnds();
    const before = this.#sink.position;
    const references = this.#encoder.encode(value, what, 'strict');
    // A value that needs alignment was moved; the gap counts to the value before it.
    const { start } = this.#encoder;
    if (start !== before) this.#ends.setUint32(4 * (this.#count - 1), start, true);
    this.#ends.setUint32(4 * this.#count++, this.#sink.position, true);
    return references;
  }

  /** Hands over what was appended since the last time, and starts anew. */
  take(): EncodedColumn {
    const { position } = this.#sink;
    const bytes = this.#sink.bytes.subarray(0, position);
    const ends = new Uint8Array(this.#ends.buffer, 0, 4 * this.#count);
    this.#sink = new ByteSink(CAPACITY);
    this.#encoder = new ValueEncoder(this.#sink);
    this.#ends = new DataView(new ArrayBuffer(4 * ENDS_CAPACITY));
    this.#count = 0;
    return { bytes, ends };
  }

  #growEnds(): void {
    const grown = new ArrayBuffer(2 * this.#ends.byteLength);
    new Uint8Array(grown).set(new Uint8Array(this.#ends.buffer));
    this.#ends = new DataView(grown);
  }
}

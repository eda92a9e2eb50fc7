import { FarmError } from '../core/errors.ts';
import { Tag, VALUE_BYTES_MAX } from './format.ts';
import type { AllocateMemory } from './result-array.ts';

/** Strings up to this length are written in JavaScript; longer ones are cheaper in C++. */
const COPIED_IN_SCRIPT_MAX = 24;

/** From this size on memory is asked of who offers it. */
const ALLOCATED_BYTES_MIN = 1_048_576;

/** A growing byte buffer with the writers for the primitives of the format. */
export class ByteSink {
  /** Where the next byte goes; also the number of bytes written. */
  position = 0;
  /** Offers memory for what is large and known to be so at once. */
  allocate: AllocateMemory | undefined;
  /** Where the room ends without growing. */
  #end: number;
  #limit: number = VALUE_BYTES_MAX;
  #tooLarge: string | undefined;
  #bytes: Uint8Array<ArrayBuffer>;
  #buffer: Buffer<ArrayBuffer>;
  #view: DataView;

  constructor(capacity: number) {
    this.#buffer = Buffer.from(new ArrayBuffer(capacity));
    this.#bytes = new Uint8Array(this.#buffer.buffer);
    this.#view = new DataView(this.#bytes.buffer);
    this.#end = capacity;
  }

  /**
   * Sets the largest `position`, in bytes: a write beyond it throws, before memory is taken for it.
   *
   * @param tooLarge - What is said then. @default that it is more than so many bytes
   */
  setLimit(bytes: number = VALUE_BYTES_MAX, tooLarge?: string): void {
    this.#limit = Math.min(bytes, VALUE_BYTES_MAX);
    this.#tooLarge = tooLarge;
    this.#end = Math.min(this.#bytes.length, this.#limit);
  }

  /** The memory written to; changes when it grows. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /**
   * Makes room for `count` more bytes.
   *
   * @throws FarmError `ERR_VALUE` beyond the limit
   */
  reserve(count: number): void {
    if (this.position + count > this.#end) this.#grow(this.position + count);
  }

  byte(value: number): void {
    this.reserve(1);
    this.#bytes[this.position++] = value;
  }

  varint(value: number): void {
    this.reserve(8);
    const bytes = this.#bytes;
    let rest = value;
    while (rest >= 0x80) {
      bytes[this.position++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    bytes[this.position++] = rest;
  }

  uint32(value: number): void {
    this.reserve(4);
    this.#view.setUint32(this.position, value, true);
    this.position += 4;
  }

  /** Overwrites four bytes written before. */
  patchUint32(position: number, value: number): void {
    this.#view.setUint32(position, value, true);
  }

  float64(value: number): void {
    this.reserve(8);
    this.#view.setFloat64(this.position, value, true);
    this.position += 8;
  }

  /** A number as an item: small integers take one to five bytes, everything else nine. */
  number(value: number): void {
    this.reserve(9);
    const bytes = this.#bytes;
    if ((value | 0) !== value || Object.is(value, -0)) {
      bytes[this.position] = Tag.float64;
      this.#view.setFloat64(this.position + 1, value, true);
      this.position += 9;
    } else if (value >= 0 && value < 0x80) {
      bytes[this.position++] = value;
    } else if (value >= -0x80 && value < 0x80) {
      bytes[this.position] = Tag.int8;
      bytes[this.position + 1] = value;
      this.position += 2;
    } else if (value >= -0x8000 && value < 0x8000) {
      bytes[this.position] = Tag.int16;
      this.#view.setInt16(this.position + 1, value, true);
      this.position += 3;
    } else {
      bytes[this.position] = Tag.int32;
      this.#view.setInt32(this.position + 1, value, true);
      this.position += 5;
    }
  }

  bigint(value: bigint): void {
    if (BigInt.asIntN(64, value) === value) {
      this.reserve(9);
      this.#bytes[this.position] = Tag.bigint64;
      this.#view.setBigInt64(this.position + 1, value, true);
      this.position += 9;
      return;
    }
    this.byte(value < 0n ? Tag.bigintNegative : Tag.bigintPositive);
    const digits = (value < 0n ? -value : value).toString(16);
    const hex = digits.length % 2 === 0 ? digits : `0${digits}`;
    this.varint(hex.length / 2);
    this.reserve(hex.length / 2);
    this.position += this.#buffer.write(hex, this.position, 'hex');
  }

  /** A string as an item, every UTF-16 unit exact. */
  string(text: string): void {
    const { length } = text;
    if (length > COPIED_IN_SCRIPT_MAX) {
      this.#longString(text);
      return;
    }
    this.reserve(length + 1);
    const bytes = this.#bytes;
    const { position } = this;
    bytes[position] = Tag.shortString + length;
    for (let index = 0; index < length; index++) {
      const unit = text.charCodeAt(index);
      if (unit > 0xff) {
        this.#wideString(text);
        return;
      }
      bytes[position + 1 + index] = unit;
    }
    this.position = position + 1 + length;
  }

  /** Copies raw bytes. */
  append(content: Uint8Array): void {
    this.reserve(content.length);
    this.#bytes.set(content, this.position);
    this.position += content.length;
  }

  /** Writes `value` until `position` is `end`. */
  fillTo(end: number, value: number): void {
    this.reserve(end - this.position);
    this.#bytes.fill(value, this.position, end);
    this.position = end;
  }

  /** Moves everything from `start` on by `count` bytes towards the end. */
  shift(start: number, count: number): void {
    this.reserve(count);
    this.#bytes.copyWithin(start + count, start, this.position);
    this.position += count;
  }

  #longString(text: string): void {
    if (Buffer.byteLength(text) !== text.length) {
      this.#wideString(text);
      return;
    }
    this.byte(Tag.latin1);
    this.varint(text.length);
    this.reserve(text.length);
    this.position += this.#buffer.write(text, this.position, text.length, 'latin1');
  }

  #wideString(text: string): void {
    const encoding = text.isWellFormed() ? 'utf8' : 'utf16le';
    const byteLength = Buffer.byteLength(text, encoding);
    this.byte(encoding === 'utf8' ? Tag.utf8 : Tag.utf16);
    this.varint(byteLength);
    this.reserve(byteLength);
    this.position += this.#buffer.write(text, this.position, encoding);
  }

  #grow(needed: number): void {
    if (needed > this.#limit) {
      const reason = this.#tooLarge ?? `more than ${this.#limit} bytes when encoded`;
      throw new FarmError('ERR_VALUE', reason);
    }
    const capacity = Math.min(Math.max(needed, this.#bytes.length * 2), this.#limit);
    // What grows little by little would ask again and again.
    const isKnown = capacity === needed && capacity >= ALLOCATED_BYTES_MIN;
    const allocated = isKnown ? this.allocate?.(capacity) : undefined;
    const bytes = allocated ?? new Uint8Array(new ArrayBuffer(capacity));
    bytes.set(this.#bytes.subarray(0, this.position));
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, capacity);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, capacity);
    this.#end = Math.min(capacity, this.#limit);
  }
}

import { FarmError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import {
  blankError,
  ERROR_CLASSES,
  ERROR_PARTS_MASK,
  ErrorPart,
  inheritedName,
} from './error-shape.ts';
import { ALIGNMENT, SegmentFlag, Tag } from './format.ts';
import { cachedKey, shortText } from './key-cache.ts';
import { Segment } from './segment-reader.ts';

const BUILT_IN_SCRIPT_MAX = 10;
const ARRAY_LENGTH_MAX = 2 ** 32 - 1;
const NO_REFERENCES: readonly unknown[] = Object.freeze([]);
/** What an array has at an index without value. Never seen outside. */
const HOLE = Symbol('hole');

/** Options of {@link decodeValue}. */
export interface DecodeOptions {
  /** What the value is, to begin error messages with. @default 'value' */
  readonly what?: string;
  /**
   * Copy large buffers rather than return views of the input. For input that is decoded more than
   * once, or that must not be kept alive by a part of the value.
   * @default false
   */
  readonly copy?: boolean;
}

/**
 * Rebuilds a value from the bytes of `encodeValue`.
 *
 * Typed arrays, DataViews and Buffers of 4 KiB and more are views of `bytes` where its
 * `byteOffset` is a multiple of 8: nothing is copied, they keep the memory of `bytes` alive, and
 * writing to them writes to it. Smaller ones, and ArrayBuffers, are always copies.
 *
 * The bytes are not trusted: lengths are checked against what is there before anything is
 * allocated, and names such as `__proto__` become own properties.
 *
 * @param references - what takes the place of each future of the value, in the order of
 *   `EncodedValue.references`
 * @throws FarmError `ERR_VALUE` if the bytes are not a value, or name a future that is not given
 *
 * @example
 * const { bytes, references } = encodeValue({ part: future, scale: 2 });
 * decodeValue(bytes, await Promise.all(references.map(resultOf))); // { part: 21, scale: 2 }
 */
export function decodeValue(
  bytes: Uint8Array,
  references: readonly unknown[] = NO_REFERENCES,
  options: DecodeOptions = {},
): unknown {
  return new ValueDecoder(bytes, references, options).decode();
}

/** Reads one value. */
class ValueDecoder {
  readonly #bytes: Uint8Array;
  readonly #references: readonly unknown[];
  readonly #options: DecodeOptions;
  /** Objects in the order in which they appeared, for `Tag.ref`. */
  readonly #objects: object[] = [];
  #buffer: Buffer | undefined;
  #view: DataView | undefined;
  #segments: readonly Segment[] | undefined;
  #position = 0;
  /** Where the items end. */
  #end: number;

  constructor(bytes: Uint8Array, references: readonly unknown[], options: DecodeOptions) {
    this.#bytes = bytes;
    this.#references = references;
    this.#options = options;
    this.#end = bytes.length;
  }

  decode(): unknown {
    try {
      if (this.#bytes[0] === Tag.buffers) this.#readSegments();
      const value = this.#read(0);
      if (value === HOLE) throw this.#damaged('a hole outside an array');
      if (this.#segments === undefined) this.#expectPadding(this.#position);
      else if (this.#position !== this.#end) throw this.#damaged('items overlap the buffers');
      return value;
    } catch (error) {
      if (error instanceof FarmError) throw error;
      // A pattern, number or length that the engine does not accept.
      throw this.#damaged('it holds something that cannot be built', error);
    }
  }

  #read(depth: number): unknown {
    const tag = this.#byte();
    if (tag < 0x80) return tag;
    if (tag < Tag.shortArray) return this.#latin1(tag - Tag.shortString);
    if (tag < Tag.undefined) return this.#array(tag - Tag.shortArray, depth);
    switch (tag) {
      case Tag.undefined:
        return undefined;
      case Tag.null:
        return null;
      case Tag.true:
        return true;
      case Tag.false:
        return false;
      case Tag.int8:
        return (this.#byte() << 24) >> 24;
      case Tag.int16:
        return this.#asView().getInt16(this.#take(2), true);
      case Tag.int32:
        return this.#asView().getInt32(this.#take(4), true);
      case Tag.float64:
        return this.#float64();
      case Tag.bigint64:
        return this.#asView().getBigInt64(this.#take(8), true);
      case Tag.bigintPositive:
        return this.#bigint();
      case Tag.bigintNegative:
        return -this.#bigint();
      case Tag.latin1:
        return this.#latin1(this.#length());
      case Tag.utf8:
        return this.#text('utf8');
      case Tag.utf16:
        return this.#text('utf16le');
      case Tag.array:
        return this.#array(this.#varint(), depth);
      case Tag.arrayWithProperties:
        return this.#arrayProperties(this.#array(this.#varint(), depth), depth);
      case Tag.hole:
        return HOLE;
      case Tag.object:
        return this.#properties(this.#object({}), depth);
      case Tag.map:
        return this.#map(depth);
      case Tag.set:
        return this.#set(depth);
      case Tag.date:
        return this.#object(new Date(this.#float64()));
      case Tag.regexp:
        return this.#regexp(depth);
      case Tag.boxed:
        return this.#boxed(depth);
      case Tag.error:
        return this.#error(depth);
      case Tag.arrayBuffer:
        return this.#arrayBuffer();
      case Tag.view:
        return this.#bufferView(false);
      case Tag.trackingView:
        return this.#bufferView(true);
      case Tag.ref:
        return this.#ref();
      case Tag.future:
        return this.#future();
      default:
        throw this.#damaged(`0x${tag.toString(16)} starts no item`);
    }
  }

  /** Reads what must not be a hole. */
  #item(depth: number): unknown {
    if (depth > LIMITS.valueDepthMax) {
      throw this.#damaged(`nested more than ${LIMITS.valueDepthMax} levels deep`);
    }
    const item = this.#read(depth);
    if (item === HOLE) throw this.#damaged('a hole outside an array');
    return item;
  }

  #array(length: number, depth: number): unknown[] {
    const array: unknown[] = [];
    this.#objects.push(array);
    if (length > ARRAY_LENGTH_MAX) throw this.#damaged('an array too long');
    if (depth >= LIMITS.valueDepthMax) {
      throw this.#damaged(`nested more than ${LIMITS.valueDepthMax} levels deep`);
    }
    // Grown as items arrive, so that a false length allocates nothing.
    for (let index = 0; index < length; index++) {
      const next = this.#bytes[this.#position];
      // Numbers first: arrays of them are long.
      if (next === Tag.float64) {
        this.#position++;
        array.push(this.#float64());
      } else if (next === Tag.sparse) {
        this.#position++;
        this.#sparse(array, length, depth);
        break;
      } else {
        const item = this.#read(depth + 1);
        if (item === HOLE) array.length++;
        else array.push(item);
      }
    }
    return array;
  }

  #sparse(array: unknown[], length: number, depth: number): void {
    // An item at the far end makes the engine keep the array as a table, so that the length alone
    // takes no memory.
    array[ARRAY_LENGTH_MAX - 1] = undefined;
    array.length = length;
    const count = this.#varint();
    for (let read = 0; read < count; read++) {
      const index = this.#varint();
      if (index >= length) throw this.#damaged('an item beyond the end of its array');
      const item = this.#read(depth + 1);
      if (item !== HOLE) array[index] = item;
    }
  }

  #arrayProperties(array: unknown[], depth: number): unknown[] {
    for (let key = this.#key(); key !== undefined; key = this.#key()) {
      // Assigning a length would allocate it.
      if (key === 'length') throw this.#damaged('the length of an array as its property');
      defineProperty(array, key, this.#item(depth + 1), true);
    }
    return array;
  }

  #properties(target: Record<string, unknown>, depth: number): object {
    for (;;) {
      const key = this.#key();
      if (key === undefined) return target;
      const item = this.#item(depth + 1);
      if (key === '__proto__') defineProperty(target, key, item, true);
      else target[key] = item;
    }
  }

  /** The next property name, or undefined at the end. */
  #key(): string | undefined {
    const tag = this.#byte();
    if (tag >= Tag.shortString && tag < Tag.shortArray) {
      const length = tag - Tag.shortString;
      const start = this.#take(length);
      return cachedKey(this.#bytes, start, length);
    }
    switch (tag) {
      case Tag.end:
        return undefined;
      case Tag.latin1:
        return this.#latin1(this.#length());
      case Tag.utf8:
        return this.#text('utf8');
      case Tag.utf16:
        return this.#text('utf16le');
      default:
        throw this.#damaged(`0x${tag.toString(16)} starts no property name`);
    }
  }

  #map(depth: number): Map<unknown, unknown> {
    const map = this.#object(new Map<unknown, unknown>());
    const size = this.#varint();
    for (let read = 0; read < size; read++) {
      const key = this.#item(depth + 1);
      map.set(key, this.#item(depth + 1));
    }
    return map;
  }

  #set(depth: number): Set<unknown> {
    const set = this.#object(new Set<unknown>());
    const size = this.#varint();
    for (let read = 0; read < size; read++) set.add(this.#item(depth + 1));
    return set;
  }

  #regexp(depth: number): RegExp {
    const source = this.#string(depth);
    return this.#object(new RegExp(source, this.#string(depth)));
  }

  #boxed(depth: number): object {
    const number = this.#objects.length;
    this.#objects.push(this.#objects);
    const primitive = this.#item(depth + 1);
    if (primitive === null || primitive === undefined || typeof primitive === 'object') {
      throw this.#damaged('a boxed primitive without a primitive');
    }
    const boxed = boxedOf(primitive);
    this.#objects[number] = boxed;
    return boxed;
  }

  #error(depth: number): Error {
    const errorClass = ERROR_CLASSES[this.#byte()];
    const parts = this.#byte();
    const enumerable = this.#byte();
    if (errorClass === undefined || (parts & ~ERROR_PARTS_MASK) !== 0) {
      throw this.#damaged('an error of unknown class or layout');
    }
    const has = (part: number): boolean => (parts & part) !== 0;
    const isEnumerable = (part: number): boolean => (enumerable & part) !== 0;

    const name = has(ErrorPart.name) ? this.#string(depth) : inheritedName(errorClass);
    const message = has(ErrorPart.message) ? this.#string(depth) : '';
    const error = this.#object(blankError(errorClass, name, message));
    if (errorClass !== 'DOMException') {
      if (has(ErrorPart.name)) {
        defineProperty(error, 'name', name, isEnumerable(ErrorPart.name));
      }
      if (has(ErrorPart.message)) {
        defineProperty(error, 'message', message, isEnumerable(ErrorPart.message));
      } else {
        Reflect.deleteProperty(error, 'message');
      }
    }
    if (has(ErrorPart.stack)) {
      defineProperty(error, 'stack', this.#string(depth), isEnumerable(ErrorPart.stack));
    } else {
      Reflect.deleteProperty(error, 'stack');
    }
    for (const key of ['cause', 'errors'] as const) {
      const part = ErrorPart[key];
      if (has(part)) defineProperty(error, key, this.#item(depth + 1), isEnumerable(part));
      else Reflect.deleteProperty(error, key);
    }
    this.#fields(error, depth);
    return error;
  }

  /** Like properties, but defined: an error class may have setters. */
  #fields(error: Error, depth: number): void {
    for (let key = this.#key(); key !== undefined; key = this.#key()) {
      defineProperty(error, key, this.#item(depth + 1), true);
    }
  }

  #arrayBuffer(): object {
    const buffer = this.#segment().arrayBuffer();
    if (buffer === undefined) throw this.#damaged('an ArrayBuffer that is not there');
    return this.#object(buffer);
  }

  #bufferView(tracksLength: boolean): object {
    const kind = this.#byte();
    const segment = this.#segment();
    const byteOffset = this.#uint32();
    const length = this.#uint32();
    const view = segment.view(kind, byteOffset, length, tracksLength);
    if (view === undefined) throw this.#damaged('a view of an unknown kind or outside its buffer');
    return this.#object(view);
  }

  #segment(): Segment {
    const segment = this.#segments?.[this.#uint32()];
    if (segment === undefined) throw this.#damaged('a buffer that is not there');
    return segment;
  }

  #ref(): object {
    const object = this.#objects[this.#varint()];
    // The list of objects holds the place of a boxed primitive that is being read.
    if (object === undefined || object === this.#objects) {
      throw this.#damaged('a reference to an object that has not appeared');
    }
    return object;
  }

  #future(): unknown {
    const index = this.#varint();
    if (index >= this.#references.length) {
      const given = `only ${this.#references.length} results of futures were given`;
      throw this.#damaged(`it needs the result of future ${index}, and ${given}`);
    }
    return this.#references[index];
  }

  #readSegments(): void {
    this.#position = 1;
    const table = this.#uint32();
    const items = this.#position;
    if (table < items || table > this.#bytes.length) throw this.#damaged('no table of buffers');
    this.#position = table;

    const count = this.#varint();
    if (count > this.#bytes.length - this.#position) throw this.#damaged('too many buffers');
    const entries = Array.from({ length: count }, () => {
      const flags = this.#byte();
      if ((flags & ~SegmentFlag.all) !== 0) throw this.#damaged('a buffer with unknown flags');
      const byteLength = this.#varint();
      const isResizable = (flags & SegmentFlag.resizable) !== 0;
      const maxByteLength = isResizable ? this.#float64() : undefined;
      return { flags, byteLength, maxByteLength };
    });
    const mayShare = this.#options.copy !== true;
    let from = this.#position;
    this.#segments = entries.map((entry) => {
      const segment = new Segment(entry, this.#bytes, from, mayShare);
      from = segment.position + segment.byteLength;
      if (from > this.#bytes.length) throw this.#damaged('a buffer is cut off');
      return segment;
    });
    this.#expectPadding(from);
    this.#position = items;
    this.#end = table;
  }

  #bigint(): bigint {
    const length = this.#length();
    const start = this.#take(length);
    return BigInt(`0x${this.#asBuffer().toString('hex', start, start + length) || '0'}`);
  }

  #string(depth: number): string {
    const text = this.#item(depth);
    if (typeof text !== 'string') throw this.#damaged('text was expected');
    return text;
  }

  #latin1(length: number): string {
    const start = this.#take(length);
    if (length <= BUILT_IN_SCRIPT_MAX) return shortText(this.#bytes, start, length);
    return this.#asBuffer().toString('latin1', start, start + length);
  }

  #text(encoding: 'utf8' | 'utf16le'): string {
    const length = this.#length();
    const start = this.#take(length);
    return this.#asBuffer().toString(encoding, start, start + length);
  }

  #asBuffer(): Buffer {
    if (this.#buffer === undefined) {
      const { buffer, byteOffset, length } = this.#bytes;
      this.#buffer = Buffer.from(buffer, byteOffset, length);
    }
    return this.#buffer;
  }

  /** A number of bytes that follow. */
  #length(): number {
    const length = this.#varint();
    if (length > this.#end - this.#position) throw this.#damaged('it is cut off');
    return length;
  }

  #varint(): number {
    let value = 0;
    for (let scale = 1; scale <= 2 ** 42; scale *= 0x80) {
      const byte = this.#byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
    }
    throw this.#damaged('a length of more than 49 bits');
  }

  #byte(): number {
    if (this.#position >= this.#end) throw this.#damaged('it is cut off');
    return this.#bytes[this.#position++] ?? 0;
  }

  /** Passes over `length` bytes. @returns where they start */
  #take(length: number): number {
    const start = this.#position;
    if (length > this.#end - start) throw this.#damaged('it is cut off');
    this.#position = start + length;
    return start;
  }

  #uint32(): number {
    return this.#asView().getUint32(this.#take(4), true);
  }

  #float64(): number {
    return this.#asView().getFloat64(this.#take(8), true);
  }

  #asView(): DataView {
    if (this.#view === undefined) {
      const { buffer, byteOffset, length } = this.#bytes;
      this.#view = new DataView(buffer, byteOffset, length);
    }
    return this.#view;
  }

  #object<T extends object>(object: T): T {
    this.#objects.push(object);
    return object;
  }

  /** Up to seven bytes of padding may follow a value that stands before an aligned one. */
  #expectPadding(from: number): void {
    const rest = this.#bytes.length - from;
    for (let index = from; index < this.#bytes.length; index++) {
      if (rest >= ALIGNMENT || this.#bytes[index] !== Tag.pad) {
        throw this.#damaged(`${rest} bytes follow its end`);
      }
    }
  }

  #damaged(what: string, cause?: unknown): FarmError {
    const subject = this.#options.what ?? 'value';
    const message = `${subject}: its encoding is damaged at byte ${this.#position}: ${what}`;
    return new FarmError('ERR_VALUE', message, { cause });
  }
}

function boxedOf(primitive: unknown): object {
  // SAFE: Object() of anything but null and undefined is an object
  return Object(primitive) as object;
}

function defineProperty(target: object, key: string, value: unknown, enumerable: boolean): void {
  Object.defineProperty(target, key, { value, enumerable, configurable: true, writable: true });
}

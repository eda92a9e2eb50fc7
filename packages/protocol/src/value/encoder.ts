import { types } from 'node:util';
import { FarmError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
import { arrayIndices, arrayProperties } from './array-properties.ts';
import { BufferCollector } from './buffer-collector.ts';
import type { ByteSink } from './byte-sink.ts';
import { ERROR_CLASSES, ErrorPart, errorClassOf, inheritedName } from './error-shape.ts';
import { Tag, VIEW_ELEMENT_BYTES, VIEW_KINDS } from './format.ts';
import { FUTURE } from './future-symbol.ts';
import { adviceFor, builtinClassOf, whyRefused } from './host-objects.ts';
import { IdentityTable } from './identity-table.ts';
import { ValuePath } from './value-path.ts';

/**
 * What to do with what cannot travel.
 * `strict`: refuse it. `no futures`: refuse futures too. `shared views`: the same, but views of a
 * SharedArrayBuffer travel as copies. `lenient`: write a note in its place, and cut long text; for
 * errors, which must cross in any case.
 */
export type EncodePolicy = 'strict' | 'no futures' | 'shared views' | 'lenient';

const NO_REFERENCES: readonly object[] = Object.freeze([]);
/** A run of indices without values this long, or the rest of the array, is written as sparse. */
const HOLES_WRITTEN_SINGLY_MAX = 1_024;

const partBits: ReadonlyMap<string, number> = new Map(Object.entries(ErrorPart));

// Sees through subclasses and own properties that claim to be another class.
const typedArrayTag = Object.getOwnPropertyDescriptor(
  Reflect.getPrototypeOf(Uint8Array.prototype) ?? {},
  Symbol.toStringTag,
);

/**
 * Writes values in one walk: it encodes, numbers objects, collects futures, refuses what cannot
 * travel and limits depth, all in passing. Reused from value to value.
 */
export class ValueEncoder {
  readonly #sink: ByteSink;
  readonly #seen = new IdentityTable();
  readonly #futures = new IdentityTable();
  readonly #path = new ValuePath();
  #references: object[] | undefined;
  #buffers: BufferCollector | undefined;
  #start = 0;
  #what = 'value';
  #policy: EncodePolicy = 'strict';
  #isLenient = false;
  #isBusy = false;
  #refusal: unknown;

  constructor(sink: ByteSink) {
    this.#sink = sink;
  }

  /** Whether a walk is under way: a getter of the value may call back into the program. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Where the value written last starts in the sink, which may be after alignment. */
  get start(): number {
    return this.#start;
  }

  /**
   * Appends one value to the sink. On an error the sink stays as it was.
   *
   * @param what - what the value is, to begin error messages with: `argument 0`
   * @returns the futures in it
   * @throws FarmError `ERR_VALUE`
   */
  encode(value: unknown, what: string, policy: EncodePolicy): readonly object[] {
    const start = this.#sink.position;
    this.#start = start;
    this.#what = what;
    this.#policy = policy;
    this.#isLenient = policy === 'lenient';
    this.#isBusy = true;
    try {
      this.#write(value, 0);
      if (this.#buffers !== undefined) this.#start = this.#buffers.finish(this.#sink, start);
      return this.#references ?? NO_REFERENCES;
    } catch (error) {
      this.#sink.position = start;
      throw this.#explained(error, 0);
    } finally {
      this.#seen.reset();
      if (this.#references !== undefined) this.#futures.reset();
      this.#references = undefined;
      this.#buffers = undefined;
      this.#refusal = undefined;
      this.#isBusy = false;
    }
  }

  #write(value: unknown, depth: number): void {
    switch (typeof value) {
      case 'number':
        this.#sink.number(value);
        return;
      case 'string':
        this.#text(value);
        return;
      case 'object':
        if (value === null) this.#sink.byte(Tag.null);
        else this.#object(value, depth);
        return;
      case 'boolean':
        this.#sink.byte(value ? Tag.true : Tag.false);
        return;
      case 'undefined':
        this.#sink.byte(Tag.undefined);
        return;
      case 'bigint':
        this.#sink.bigint(value);
        return;
      case 'function':
        this.#refuse(depth, 'a function cannot travel inside a value; pass plain data');
        return;
      case 'symbol':
        this.#refuse(depth, 'a symbol cannot travel; pass a string');
        return;
    }
  }

  #object(value: object, depth: number): void {
    if (types.isProxy(value)) {
      this.#refuse(depth, adviceFor('Proxy'));
      return;
    }
    const isArray = Array.isArray(value);
    if (!isArray && FUTURE in value) {
      this.#future(value, depth);
      return;
    }
    const known = this.#seen.indexOf(value);
    if (known >= 0) {
      this.#sink.byte(Tag.ref);
      this.#sink.varint(known);
    } else if (depth >= LIMITS.valueDepthMax) {
      this.#refuse(depth, `nested more than ${LIMITS.valueDepthMax} levels deep; flatten it`);
    } else if (isArray) {
      this.#array(value, depth);
    } else if (isPlain(value)) {
      this.#plain(value, depth);
    } else {
      this.#special(value, depth);
    }
  }

  #array(array: readonly unknown[], depth: number): void {
    this.#seen.add(array);
    const sink = this.#sink;
    const { length } = array;
    const properties = arrayProperties(array);
    if (properties.length > 0) {
      sink.byte(Tag.arrayWithProperties);
      sink.varint(length);
    } else if (length < 16) {
      sink.byte(Tag.shortArray + length);
    } else {
      sink.byte(Tag.array);
      sink.varint(length);
    }
    let index = 0;
    try {
      for (; index < length; index++) {
        const item = this.#isLenient ? this.#tryToRead(array, index) : array[index];
        if (typeof item === 'number') {
          sink.number(item);
        } else if (item !== undefined || Object.hasOwn(array, index)) {
          this.#path.set(depth, 'index', index);
          this.#write(item, depth + 1);
        } else if (length - index <= HOLES_WRITTEN_SINGLY_MAX) {
          sink.byte(Tag.hole);
        } else {
          this.#sparse(array, index, depth);
          break;
        }
      }
    } catch (error) {
      if (error !== this.#refusal) this.#path.set(depth, 'index', index);
      throw this.#explained(error, depth + 1);
    }
    if (properties.length > 0) this.#properties(array, properties, depth);
  }

  #sparse(array: readonly unknown[], from: number, depth: number): void {
    const indices = arrayIndices(array, from);
    this.#sink.byte(Tag.sparse);
    this.#sink.varint(indices.length);
    for (const index of indices) {
      this.#sink.varint(index);
      this.#path.set(depth, 'index', index);
      let item: unknown;
      try {
        item = this.#isLenient ? this.#tryToRead(array, index) : array[index];
      } catch (error) {
        throw this.#explained(error, depth + 1);
      }
      this.#write(item, depth + 1);
    }
  }

  #plain(value: object, depth: number): void {
    this.#seen.add(value);
    this.#sink.byte(Tag.object);
    this.#properties(value, Object.keys(value), depth);
  }

  #properties(value: object, keys: readonly string[], depth: number): void {
    const sink = this.#sink;
    // SAFE: own string keys of this very object are read
    const record = value as Readonly<Record<string, unknown>>;
    let key = '';
    try {
      for (key of keys) {
        const item = this.#isLenient ? this.#tryToRead(record, key) : record[key];
        // A getter may have deleted properties that come after it.
        if (item === undefined && !Object.hasOwn(record, key)) continue;
        this.#path.set(depth, 'property', key);
        sink.string(key);
        this.#write(item, depth + 1);
      }
    } catch (error) {
      if (error !== this.#refusal) this.#path.set(depth, 'property', key);
      throw this.#explained(error, depth + 1);
    }
    sink.byte(Tag.end);
  }

  #special(value: object, depth: number): void {
    if (types.isNativeError(value)) {
      this.#error(value, depth);
    } else if (types.isMap(value)) {
      this.#map(value, depth);
    } else if (types.isSet(value)) {
      this.#set(value, depth);
    } else if (types.isDate(value)) {
      this.#seen.add(value);
      this.#sink.byte(Tag.date);
      this.#sink.float64(Date.prototype.getTime.call(value));
    } else if (types.isRegExp(value)) {
      this.#seen.add(value);
      this.#sink.byte(Tag.regexp);
      this.#sink.string(value.source);
      this.#sink.string(value.flags);
    } else if (ArrayBuffer.isView(value)) {
      this.#view(value, depth);
    } else if (types.isArrayBuffer(value)) {
      this.#arrayBuffer(value, depth);
    } else if (types.isSharedArrayBuffer(value)) {
      this.#refuse(depth, adviceFor('SharedArrayBuffer'));
    } else if (types.isBoxedPrimitive(value)) {
      this.#boxed(value, depth);
    } else {
      const reason = whyRefused(value);
      if (reason === undefined) this.#plain(value, depth);
      else this.#refuse(depth, reason);
    }
  }

  #map(map: ReadonlyMap<unknown, unknown>, depth: number): void {
    this.#seen.add(map);
    // Copied first: getters met on the way may change the map.
    const entries: unknown[] = [];
    Map.prototype.forEach.call(map, (item, key) => entries.push(key, item));
    this.#sink.byte(Tag.map);
    this.#sink.varint(entries.length / 2);
    for (let index = 0; index < entries.length; index += 2) {
      const key = entries[index];
      this.#path.set(depth, 'key', index / 2);
      this.#write(key, depth + 1);
      if (typeof key === 'string' || typeof key === 'number') this.#path.set(depth, 'mapped', key);
      else this.#path.set(depth, 'value', index / 2);
      this.#write(entries[index + 1], depth + 1);
    }
  }

  #set(set: ReadonlySet<unknown>, depth: number): void {
    this.#seen.add(set);
    const items: unknown[] = [];
    Set.prototype.forEach.call(set, (item) => items.push(item));
    this.#sink.byte(Tag.set);
    this.#sink.varint(items.length);
    for (const [index, item] of items.entries()) {
      this.#path.set(depth, 'value', index);
      this.#write(item, depth + 1);
    }
  }

  #boxed(value: object, depth: number): void {
    const primitive = unboxed(value);
    if (typeof primitive === 'symbol') {
      this.#refuse(depth, 'a symbol cannot travel; pass a string');
      return;
    }
    this.#seen.add(value);
    this.#sink.byte(Tag.boxed);
    this.#write(primitive, depth + 1);
  }

  #arrayBuffer(buffer: ArrayBuffer, depth: number): void {
    if (this.#isUnreadable(buffer, buffer.byteLength, depth)) return;
    this.#seen.add(buffer);
    this.#sink.byte(Tag.arrayBuffer);
    this.#buffersAt().addBuffer(this.#sink.position, buffer);
    this.#sink.uint32(0);
  }

  #view(view: ArrayBufferView, depth: number): void {
    if (!isArrayBuffer(view.buffer) && this.#policy !== 'shared views') {
      this.#refuse(depth, adviceFor('SharedArrayBuffer'));
      return;
    }
    // SAFE: one that is shared is never detached or resizable, and its bytes are read the same way.
    const buffer = view.buffer as ArrayBuffer;
    if (this.#isUnreadable(buffer, view.byteLength, depth)) return;
    const name: unknown = typedArrayTag?.get?.call(view) ?? 'DataView';
    const kind = VIEW_KINDS.findIndex((known) => known === name);
    const elementBytes = VIEW_ELEMENT_BYTES[kind];
    if (elementBytes === undefined) {
      this.#refuse(depth, adviceFor(String(name)));
      return;
    }
    if (buffer.resizable && isOutOfBounds(view)) {
      this.#refuse(depth, 'a view that lies outside its resized ArrayBuffer cannot travel');
      return;
    }
    this.#seen.add(view);
    const tracksLength = buffer.resizable && followsLength(view, elementBytes);
    this.#sink.byte(tracksLength ? Tag.trackingView : Tag.view);
    this.#sink.byte(kind);
    // SAFE: as above
    const owned = view as ArrayBufferView<ArrayBuffer>;
    this.#buffersAt().addView(this.#sink.position, owned, elementBytes);
    this.#sink.uint32(0);
    this.#sink.uint32(0);
    this.#sink.uint32(view.byteLength / elementBytes);
  }

  #isUnreadable(buffer: ArrayBuffer, byteLength: number, depth: number): boolean {
    if (buffer.detached) {
      this.#refuse(depth, 'an ArrayBuffer that was transferred away (detached) has no contents');
      return true;
    }
    if (this.#isLenient && byteLength > LIMITS.errorTextMax) {
      this.#refuse(depth, `a buffer of ${byteLength} bytes is too large for an error`);
      return true;
    }
    return false;
  }

  #buffersAt(): BufferCollector {
    return (this.#buffers ??= new BufferCollector());
  }

  #error(error: Error, depth: number): void {
    const errorClass = errorClassOf(error);
    const name = this.#textOf(error, 'name');
    const message = this.#textOf(error, 'message');
    const stack = this.#textOf(error, 'stack');
    const hasName = name !== undefined && name !== inheritedName(errorClass);
    const has = (property: string): boolean => Object.hasOwn(error, property);
    const hasMessage = message !== undefined && (message !== '' || has('message'));
    let parts = 0;
    if (hasName || (name !== undefined && has('name'))) parts |= ErrorPart.name;
    if (hasMessage) parts |= ErrorPart.message;
    if (stack !== undefined && has('stack')) parts |= ErrorPart.stack;
    if (has('cause')) parts |= ErrorPart.cause;
    if (has('errors')) parts |= ErrorPart.errors;

    const fields: string[] = [];
    let enumerable = 0;
    for (const key of Object.keys(error)) {
      const part = partBits.get(key) ?? 0;
      if ((parts & part) !== 0) enumerable |= part;
      else fields.push(key);
    }

    this.#seen.add(error);
    this.#sink.byte(Tag.error);
    this.#sink.byte(ERROR_CLASSES.indexOf(errorClass));
    this.#sink.byte(parts);
    this.#sink.byte(enumerable);
    if ((parts & ErrorPart.name) !== 0) this.#text(name ?? '');
    if ((parts & ErrorPart.message) !== 0) this.#text(message ?? '');
    if ((parts & ErrorPart.stack) !== 0) this.#text(stack ?? '');
    for (const key of ['cause', 'errors'] as const) {
      if ((parts & ErrorPart[key]) === 0) continue;
      this.#path.set(depth, 'property', key);
      const part: unknown = this.#isLenient ? this.#tryToRead(error, key) : Reflect.get(error, key);
      this.#write(part, depth + 1);
    }
    this.#properties(error, fields, depth);
  }

  /** A part of an error that is text; a part of another type travels as a field if it can. */
  #textOf(error: Error, part: 'name' | 'message' | 'stack'): string | undefined {
    const text: unknown = this.#isLenient ? this.#tryToRead(error, part) : error[part];
    if (typeof text === 'string') return text;
    // Structured clone makes text of a message, whatever it is.
    return part === 'message' && text !== undefined ? `${Object(text)}` : undefined;
  }

  #future(future: object, depth: number): void {
    if (this.#policy !== 'strict') {
      const hint = 'await its result and use that';
      this.#refuse(depth, `a future cannot be part of ${withArticle(this.#what)}; ${hint}`);
      return;
    }
    let index = this.#futures.indexOf(future);
    if (index < 0) {
      index = this.#futures.count;
      this.#futures.add(future);
      (this.#references ??= []).push(future);
    }
    this.#sink.byte(Tag.future);
    this.#sink.varint(index);
  }

  #text(text: string): void {
    const isCut = this.#isLenient && text.length > LIMITS.errorTextMax;
    this.#sink.string(isCut ? cut(text) : text);
  }

  /** In an error, a getter that throws loses one property and no more. */
  #tryToRead(value: object, key: string | number): unknown {
    try {
      const item: unknown = Reflect.get(value, key);
      return item;
    } catch {
      return '[not sent: reading it threw an error]';
    }
  }

  /** Throws, or writes a note in place of the value. To be called before any of it is written. */
  #refuse(depth: number, reason: string): void {
    if (this.#isLenient) {
      this.#sink.string(`[not sent: ${reason}]`);
      return;
    }
    this.#refusal = new FarmError('ERR_VALUE', `${this.#where(depth)}: ${reason}`);
    throw this.#refusal;
  }

  /** The error to throw for one that came up while `depth` levels deep. */
  #explained(error: unknown, depth: number): unknown {
    if (error === this.#refusal) return error;
    const where = this.#where(depth);
    this.#refusal = new FarmError('ERR_VALUE', `${where}: ${reasonOf(error)}`, { cause: error });
    return this.#refusal;
  }

  #where(depth: number): string {
    return this.#what + this.#path.text(depth);
  }
}

/** Whether own properties are certain to be all there is; false may still mean so. */
function isPlain(value: object): boolean {
  const prototype = Reflect.getPrototypeOf(value);
  if (prototype !== Object.prototype && builtinClassOf(prototype) !== '') return false;
  return Object.prototype.toString.call(value) === '[object Object]';
}

function isArrayBuffer(buffer: ArrayBufferLike): buffer is ArrayBuffer {
  return types.isArrayBuffer(buffer);
}

function unboxed(value: object): unknown {
  if (types.isNumberObject(value)) return Number.prototype.valueOf.call(value);
  if (types.isStringObject(value)) return String.prototype.valueOf.call(value);
  if (types.isBooleanObject(value)) return Boolean.prototype.valueOf.call(value);
  if (types.isBigIntObject(value)) return BigInt.prototype.valueOf.call(value);
  return Symbol.prototype.valueOf.call(value);
}

/** A view of a resizable buffer that was shrunk may reach beyond it; it then reads as empty. */
function isOutOfBounds(view: ArrayBufferView): boolean {
  try {
    structuredClone(view);
    return false;
  } catch {
    return true;
  }
}

/**
 * Whether a view of a resizable buffer was made without a length and so follows the buffer's. No
 * property tells; a clone keeps the quality, and can be resized to see.
 */
function followsLength(view: ArrayBufferView, elementBytes: number): boolean {
  const clone = structuredClone(view);
  const { buffer, byteLength } = clone;
  if (!isArrayBuffer(buffer)) return false;
  const end = clone.byteOffset + byteLength;
  if (buffer.byteLength - end >= elementBytes) return false;
  try {
    if (byteLength >= 2 * elementBytes) {
      buffer.resize(end - elementBytes);
      return clone.byteLength > 0;
    }
    buffer.resize(Math.min(end + elementBytes, buffer.maxByteLength));
    return clone.byteLength > byteLength;
  } catch {
    return false; // a DataView of fixed length throws once it is out of bounds
  }
}

function cut(text: string): string {
  const kept = text.slice(0, LIMITS.errorTextMax);
  return `${kept}… [${text.length - kept.length} more characters]`;
}

function reasonOf(error: unknown): string {
  if (error instanceof RangeError && error.message.includes('call stack')) {
    return 'nested too deep for the stack that is left; flatten it';
  }
  if (error instanceof RangeError && error.message.includes('allocation failed')) {
    return 'there is not enough memory to encode it';
  }
  if (error instanceof FarmError && error.code === 'ERR_VALUE') return error.message;
  return 'reading it threw an error (the cause of this one)';
}

function withArticle(noun: string): string {
  return /^[aeiou]/i.test(noun) ? `an ${noun}` : `a ${noun}`;
}

import { FarmError } from '../core/errors.ts';
import {
  aligned,
  BUFFERS_HEADER_BYTES,
  Tag,
  VALUE_BYTES_MAX,
  VIEW_ELEMENT_BYTES,
  VIEW_KINDS,
  ZERO_COPY_BYTES_MIN,
} from './format.ts';

/** Bytes of the one item, a view: tag, kind, segment, offset and length. */
const VIEW_ITEM_BYTES = 14;

/** A constructor of typed arrays, such as `Float64Array`. */
export interface TypedArrayKind<A extends ArrayBufferView> {
  readonly name: string;
  new (length: number): A;
  new (buffer: ArrayBuffer, byteOffset: number, length: number): A;
}

/** An array that was made here and not taken. */
interface Made {
  /** What goes before its contents. */
  readonly head: Uint8Array;
  /** Where both lie. */
  readonly memory: Uint8Array<ArrayBuffer>;
}

const made = new WeakMap<ArrayBufferView, Made>();

/** Gets zeroed memory of a size in bytes, from a multiple of 8 on. */
export type AllocateMemory = (sizeBytes: number) => Uint8Array<ArrayBuffer>;

/**
 * Makes a typed array of zeros in memory that has room for what an encoded value begins with, so
 * that the array is encoded, once, where it lies.
 *
 * @param allocate - Where its memory comes from; not asked for what is small.
 * @throws FarmError `ERR_ARGUMENT` where that is no kind of typed array, or the length is none;
 * `ERR_VALUE` where it is too large to travel.
 */
export function makeResultArray<A extends ArrayBufferView>(
  kind: TypedArrayKind<A>,
  length: number,
  allocate: AllocateMemory = (sizeBytes) => new Uint8Array(new ArrayBuffer(sizeBytes)),
): A {
  const index = VIEW_KINDS.findIndex((name) => name === kind.name && name !== 'DataView');
  const elementBytes = VIEW_ELEMENT_BYTES[index];
  if (elementBytes === undefined) {
    throw new FarmError('ERR_ARGUMENT', `resultArray: ${kind.name} is no kind of typed array`);
  }
  if (!Number.isSafeInteger(length) || length < 0) {
    throw new FarmError('ERR_ARGUMENT', `resultArray: ${String(length)} is no length`);
  }
  const byteLength = length * elementBytes;
  // Those are not aligned; and to copy them costs nothing.
  if (byteLength < ZERO_COPY_BYTES_MIN) return new kind(length);
  const head = headOf(index, length, byteLength);
  if (head.byteLength + byteLength > VALUE_BYTES_MAX) {
    throw new FarmError('ERR_VALUE', `an array of ${byteLength} bytes is too large to travel`);
  }
  const memory = allocate(head.byteLength + byteLength);
  const array = new kind(memory.buffer, memory.byteOffset + head.byteLength, length);
  made.set(array, { head, memory });
  return array;
}

/**
 * The encoded value of an array of {@link makeResultArray}: the very memory it lies in. Undefined for
 * any other value, and for an array that was taken before.
 */
export function takeResultArray(value: unknown): Uint8Array<ArrayBuffer> | undefined {
  if (!ArrayBuffer.isView(value)) return undefined;
  const taken = made.get(value);
  if (taken === undefined || taken.memory.buffer.detached) return undefined;
  made.delete(value);
  taken.memory.set(taken.head);
  return taken.memory;
}

/** Everything before the contents, as `encodeValue` writes it. */
function headOf(kind: number, length: number, byteLength: number): Uint8Array {
  const tableAt = BUFFERS_HEADER_BYTES + VIEW_ITEM_BYTES;
  const head = new Uint8Array(64);
  const view = new DataView(head.buffer);
  head[0] = Tag.buffers;
  view.setUint32(1, tableAt, true);
  head[BUFFERS_HEADER_BYTES] = Tag.view;
  head[BUFFERS_HEADER_BYTES + 1] = kind;
  // Segment 0, from its beginning.
  view.setUint32(BUFFERS_HEADER_BYTES + 10, length, true);
  // One segment, without flags.
  head[tableAt] = 1;
  let at = tableAt + 2;
  let rest = byteLength;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) head[at++] = (rest % 0x80) | 0x80;
  head[at++] = rest;
  return head.subarray(0, aligned(at));
}

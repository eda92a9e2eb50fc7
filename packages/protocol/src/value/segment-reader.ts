import { skewed } from './buffer-collector.ts';
import {
  ALIGNMENT,
  SegmentFlag,
  VIEW_ELEMENT_BYTES,
  VIEW_KINDS,
  ZERO_COPY_BYTES_MIN,
} from './format.ts';

/** One entry of the segment table of a value. */
export interface SegmentEntry {
  readonly flags: number;
  readonly byteLength: number;
  readonly maxByteLength: number | undefined;
}

/** Contents of a segment in memory: position 0 of the segment is byte `offset` of `buffer`. */
interface Contents {
  readonly buffer: ArrayBufferLike;
  readonly offset: number;
}

/** Gives the contents of one segment as ArrayBuffer or views, always the same memory. */
export class Segment {
  /** Where the contents are in the encoded value. */
  readonly position: number;
  /** How many bytes. */
  readonly byteLength: number;
  readonly #entry: SegmentEntry;
  readonly #bytes: Uint8Array;
  readonly #mayShare: boolean;
  #contents: Contents | undefined;

  /** @param start - where the value starts in `bytes`, and `from` the end of what precedes it */
  constructor(entry: SegmentEntry, bytes: Uint8Array, from: number, mayShare: boolean) {
    const isLarge = entry.byteLength >= ZERO_COPY_BYTES_MIN;
    this.#entry = entry;
    this.#bytes = bytes;
    this.position = isLarge ? skewed(from, entry.flags & SegmentFlag.skewMask) : from;
    this.byteLength = entry.byteLength;
    const isOwn = (entry.flags & (SegmentFlag.own | SegmentFlag.resizable)) !== 0;
    this.#mayShare = mayShare && isLarge && !isOwn && bytes.byteOffset % ALIGNMENT === 0;
  }

  /** The ArrayBuffer, where the value holds it itself; otherwise undefined. */
  arrayBuffer(): ArrayBufferLike | undefined {
    if ((this.#entry.flags & SegmentFlag.own) === 0) return undefined;
    return this.#load().buffer;
  }

  /** A view, or undefined where the numbers do not describe one inside the segment. */
  view(
    kind: number,
    byteOffset: number,
    length: number,
    tracksLength: boolean,
  ): ArrayBufferView | undefined {
    const name = VIEW_KINDS[kind];
    const elementBytes = VIEW_ELEMENT_BYTES[kind];
    if (name === undefined || elementBytes === undefined) return undefined;
    const start = byteOffset - (this.#entry.flags & SegmentFlag.skewMask);
    if (start < 0 || start + length * elementBytes > this.byteLength) return undefined;
    if (tracksLength && this.#entry.maxByteLength === undefined) return undefined;
    const { buffer, offset } = this.#load();
    return makeView(name, buffer, offset + byteOffset, tracksLength ? undefined : length);
  }

  #load(): Contents {
    return (this.#contents ??= this.#mayShare ? this.#shared() : this.#copied());
  }

  #shared(): Contents {
    const { buffer, byteOffset } = this.#bytes;
    const skew = this.#entry.flags & SegmentFlag.skewMask;
    return { buffer, offset: byteOffset + this.position - skew };
  }

  #copied(): Contents {
    const { byteLength, maxByteLength } = this.#entry;
    const skew = this.#entry.flags & SegmentFlag.skewMask;
    const buffer =
      maxByteLength === undefined
        ? new ArrayBuffer(skew + byteLength)
        : new ArrayBuffer(byteLength, { maxByteLength });
    const contents = this.#bytes.subarray(this.position, this.position + byteLength);
    new Uint8Array(buffer).set(contents, skew);
    return { buffer, offset: 0 };
  }
}

function makeView(
  name: (typeof VIEW_KINDS)[number],
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number | undefined,
): ArrayBufferView | undefined {
  switch (name) {
    case 'Int8Array':
      return new Int8Array(buffer, byteOffset, length);
    case 'Uint8Array':
      return new Uint8Array(buffer, byteOffset, length);
    case 'Uint8ClampedArray':
      return new Uint8ClampedArray(buffer, byteOffset, length);
    case 'Int16Array':
      return new Int16Array(buffer, byteOffset, length);
    case 'Uint16Array':
      return new Uint16Array(buffer, byteOffset, length);
    case 'Int32Array':
      return new Int32Array(buffer, byteOffset, length);
    case 'Uint32Array':
      return new Uint32Array(buffer, byteOffset, length);
    case 'Float32Array':
      return new Float32Array(buffer, byteOffset, length);
    case 'Float64Array':
      return new Float64Array(buffer, byteOffset, length);
    case 'BigInt64Array':
      return new BigInt64Array(buffer, byteOffset, length);
    case 'BigUint64Array':
      return new BigUint64Array(buffer, byteOffset, length);
    case 'DataView':
      return new DataView(buffer, byteOffset, length);
    default:
      return makeFloat16(buffer, byteOffset, length);
  }
}

/** Float16Array came with Node 24. */
function makeFloat16(
  buffer: ArrayBufferLike,
  byteOffset: number,
  length: number | undefined,
): ArrayBufferView | undefined {
  const made: unknown = Reflect.get(globalThis, 'Float16Array');
  if (typeof made !== 'function') return undefined;
  // SAFE: Reflect.construct of a typed array constructor gives a view
  return Reflect.construct(made, [buffer, byteOffset, length]) as ArrayBufferView;
}

/**
 * The byte format of user values. `docs/decisions/0002-user-values.md` says why it is our own.
 *
 * A value is one tagged item; containers hold items. Lengths and indices are unsigned LEB128
 * ("varint"), other numbers little-endian. Every object gets the next number as it first appears
 * (before its children), and `Tag.ref` names it again: that keeps cycles and shared identity.
 *
 * A value that holds ArrayBuffers or views on them starts with `Tag.buffers` and a u32: the offset
 * of the segment table, which follows the items. The table gives each segment's length; segment
 * contents follow it, those of {@link ZERO_COPY_BYTES_MIN} and more on 8-byte boundaries relative
 * to the start of the value. Up to seven `Tag.pad` may follow a value.
 *
 * The format has no version of its own: it belongs to the protocol version.
 */
export const Tag = {
  // 0x00-0x7f: the integers 0 to 127
  /** 0x80-0x9f: a string of 0 to 31 UTF-16 units, each below 256: one byte a unit. */
  shortString: 0x80,
  /** 0xa0-0xaf: a dense array of 0 to 15 items without further properties. */
  shortArray: 0xa0,

  undefined: 0xb0,
  null: 0xb1,
  true: 0xb2,
  false: 0xb3,
  int8: 0xb4,
  int16: 0xb5,
  int32: 0xb6,
  float64: 0xb7,
  /** A bigint in the range of an i64. */
  bigint64: 0xb8,
  /** varint n, n bytes big-endian. */
  bigintPositive: 0xb9,
  bigintNegative: 0xba,

  /** varint byte length, then the text. */
  latin1: 0xbb,
  utf8: 0xbc,
  /** Used for strings with lone surrogates, which UTF-8 cannot express. */
  utf16: 0xbd,

  /** varint length, items. */
  array: 0xc0,
  /** Like `array`, then (key, item)* `end` for the properties that are not indices. */
  arrayWithProperties: 0xc1,
  /** In place of an item: this index has no value. */
  hole: 0xc2,
  /** In place of all further items: varint count, then count × (varint index, item). */
  sparse: 0xc3,
  /** (key, item)* `end`. */
  object: 0xc4,
  end: 0xc5,
  /** varint size, then key, item … */
  map: 0xc6,
  /** varint size, items. */
  set: 0xc7,

  /** f64, NaN for an invalid date. */
  date: 0xc8,
  /** string source, string flags. */
  regexp: 0xc9,
  /** One item: the primitive. */
  boxed: 0xca,
  /** See `error-shape.ts`. */
  error: 0xcb,

  /** u32 segment. */
  arrayBuffer: 0xcc,
  /** u8 kind, u32 segment, u32 byte offset in the segment, u32 length in elements. */
  view: 0xcd,
  /** As `view`, of a view that follows the length of its resizable buffer. */
  trackingView: 0xce,
  /** First byte of a value with segments: u32 offset of the table. */
  buffers: 0xcf,

  /** varint number of an object that appeared before. */
  ref: 0xd0,
  /** varint index into the references. */
  future: 0xd1,

  pad: 0xff,
} as const;

/** Bytes of the header of a value with buffers. */
export const BUFFERS_HEADER_BYTES = 5;

/** Contents of at least this size are aligned, and decoded as views of the input. In bytes. */
export const ZERO_COPY_BYTES_MIN: number = 4 * 1024;

/** Boundary on which large contents are stored, relative to the start of the value. In bytes. */
export const ALIGNMENT = 8;

/** Largest encoded value, and largest column of values. In bytes. */
export const VALUE_BYTES_MAX: number = 2 ** 32 - 1;

/** Flags of one entry of the segment table; the low three bits are its skew. */
export const SegmentFlag = {
  skewMask: 0x07,
  /** The ArrayBuffer itself is part of the value, so it must be a real one after decoding. */
  own: 0x08,
  /** f64 maxByteLength follows the length. */
  resizable: 0x10,
  all: 0x1f,
} as const;

/** The kinds of views in the order of their numbers in the format. */
export const VIEW_KINDS = [
  'Int8Array',
  'Uint8Array',
  'Uint8ClampedArray',
  'Int16Array',
  'Uint16Array',
  'Int32Array',
  'Uint32Array',
  'Float32Array',
  'Float64Array',
  'BigInt64Array',
  'BigUint64Array',
  'DataView',
  'Float16Array',
] as const;

/** Element size of each of {@link VIEW_KINDS}, in bytes. */
export const VIEW_ELEMENT_BYTES: readonly number[] = [1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 1, 2];

/** The next multiple of {@link ALIGNMENT}. */
export function aligned(position: number): number {
  const over = position % ALIGNMENT;
  return over === 0 ? position : position + ALIGNMENT - over;
}

import { ByteSink } from './byte-sink.ts';
import type { AllocateMemory } from './result-array.ts';
import { type EncodePolicy, ValueEncoder } from './encoder.ts';

const CAPACITY = 4 * 1024;
/** Above this size a result is handed over rather than copied out of the working memory. */
const COPIED_BYTES_MAX = 32 * 1024;

/** A value as bytes, and the futures in it. */
export interface EncodedValue {
  /** To be read by `decodeValue`. Shared with nothing, but its ArrayBuffer may be larger. */
  readonly bytes: Uint8Array;
  /** The futures, in order of first appearance, each once. */
  readonly references: readonly object[];
}

/** Options of {@link encodeValue}. */
export interface EncodeOptions {
  /** What the value is, to begin error messages with, e.g. `argument 0`. @default 'value' */
  readonly what?: string;
  /** Whether futures may be part of the value; a result must be free of them. @default true */
  readonly futures?: boolean;
  /**
   * Whether views of a SharedArrayBuffer travel, as copies; for values that are free of futures.
   * @default false
   */
  readonly sharedViews?: boolean;
  /** Largest encoded size, bytes; more is refused before it is copied. @default 2^32 - 1 */
  readonly bytesMax?: number;
  /** What is said of a value that is larger. @default that it is more than so many bytes */
  readonly tooLarge?: string;
  /**
   * Where the memory comes from for what is larger than 1 MiB and known to be so at once, such as a large
   * typed array. @default new ArrayBuffer
   */
  readonly allocate?: AllocateMemory | undefined;
}

/** The working memory of one encoder at a time. */
interface Workplace {
  readonly sink: ByteSink;
  readonly encoder: ValueEncoder;
}

let idle: Workplace | undefined;

/**
 * Turns a value into bytes, with the meaning of `structuredClone`: cycles, shared identity, `-0`,
 * holes, Map, Set, Date, RegExp, bigint, typed arrays and so on arrive as they were; an instance
 * of a class arrives as a plain object of its own enumerable properties.
 *
 * It differs from `structuredClone` in this: errors keep their own fields and `errors`; an object
 * with `FUTURE` becomes a placeholder; a view of an ArrayBuffer that is not itself part of the
 * value takes along only the bytes it covers (see `BufferCollector`); and what cannot live in
 * another process (SharedArrayBuffer, Blob, KeyObject, …) or would arrive as `{}` is refused.
 *
 * @throws FarmError `ERR_VALUE` with the path inside the value, for what cannot travel, for more
 *   than `LIMITS.valueDepthMax` levels, for more than `bytesMax` bytes, and for getters that throw
 *
 * @example
 * encodeValue({ rate: 0.5, parts: [future] }, { what: 'argument 0' });
 * encodeValue({ onDone: () => {} }, { what: 'argument 0' });
 * // FarmError: argument 0.onDone: a function cannot travel inside a value; pass plain data
 */
export function encodeValue(value: unknown, options: EncodeOptions = {}): EncodedValue {
  const free = options.sharedViews === true ? 'shared views' : 'no futures';
  const policy = options.futures === false ? free : 'strict';
  return encodeWith(value, policy, options);
}

/**
 * {@link encodeValue} under any policy; `hiddenFrames` is what stands in lines of stacks that nobody is
 * to see.
 */
export function encodeWith(
  value: unknown,
  policy: EncodePolicy,
  options: EncodeOptions & { readonly hiddenFrames?: string | undefined },
): EncodedValue {
  const place = takeWorkplace();
  const { sink, encoder } = place;
  sink.setLimit(options.bytesMax, options.tooLarge);
  sink.allocate = options.allocate;
  try {
    const references = encoder.encode(value, options.what ?? 'value', policy, options.hiddenFrames);
    return { bytes: takeBytes(sink), references };
  } finally {
    if (sink.bytes.length <= COPIED_BYTES_MAX) {
      sink.position = 0;
      idle = place;
    }
  }
}

/** A getter of a value may come back here, so whoever works takes the place out. */
function takeWorkplace(): Workplace {
  if (idle !== undefined) {
    const place = idle;
    idle = undefined;
    return place;
  }
  const sink = new ByteSink(CAPACITY);
  return { sink, encoder: new ValueEncoder(sink) };
}

function takeBytes(sink: ByteSink): Uint8Array {
  const { bytes, position } = sink;
  const isWellFilled = bytes.length > COPIED_BYTES_MAX && position > bytes.length / 2;
  return isWellFilled ? bytes.subarray(0, position) : bytes.slice(0, position);
}

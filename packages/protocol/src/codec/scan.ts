/**
 * A look at msgpack bytes before they are decoded, so that decoding cannot be made to do more than
 * build plain values: no extension types (they carry dates, regular expressions, references, and
 * redefinitions of record shapes), no nesting that could exhaust the stack, no count larger than
 * the bytes that follow. Allocates nothing.
 *
 * Format: https://github.com/msgpack/msgpack/blob/master/spec.md, with the tokens 0x40 to 0x7f
 * taken as record ids, as msgpackr does.
 */
import { FarmError } from '../core/index.ts';

/** Deepest nesting of a batch; messages need 6. */
const DEPTH_MAX = 32;

// The cursor is module state, since the scan is synchronous and runs for every frame.
let bytes: Uint8Array = new Uint8Array(0);
let at = 0;
let end = 0;
let fieldCounts: readonly number[] = [];

/**
 * Checks that `frame` is exactly one well-formed msgpack value of plain data.
 *
 * @param frame - The bytes, untouched.
 * @param recordFieldCounts - Number of fields of each record shape both ends know.
 * @throws FarmError `ERR_PROTOCOL` naming the offset of what is wrong.
 */
export function scanPlain(frame: Uint8Array, recordFieldCounts: readonly number[]): void {
  bytes = frame;
  at = 0;
  end = frame.byteLength;
  fieldCounts = recordFieldCounts;
  try {
    scanValue(0);
    if (at !== end) throw malformed(`${end - at} bytes too many`);
  } finally {
    bytes = NONE;
  }
}

const NONE = new Uint8Array(0);

/** Bytes a number with each token takes, its token included; 0 for tokens of anything else. */
const SCALAR_WIDTHS: Uint8Array = Uint8Array.from({ length: 256 }, (_, token) => {
  if (token < 0x40 || token >= 0xe0) return 1;
  if (token === 0xcc || token === 0xd0) return 2;
  if (token === 0xcd || token === 0xd1) return 3;
  if (token === 0xce || token === 0xd2 || token === 0xca) return 5;
  return token === 0xcb ? 9 : 0;
});

function scanValue(depth: number): void {
  if (at >= end) throw malformed('it ends too early');
  const token = bytes[at++] ?? 0;
  if (token < 0x40 || token >= 0xe0) return;
  if (token < 0x80) {
    const count = fieldCounts[token - 0x40];
    if (count === undefined) throw malformed(`unknown record ${token - 0x40}`);
    scanValues(count, depth);
  } else if (token < 0x90) scanMap(token - 0x80, depth);
  else if (token < 0xa0) scanValues(token - 0x90, depth);
  else if (token < 0xc0) skip(token - 0xa0);
  else scanWide(token, depth);
}

function scanWide(token: number, depth: number): void {
  switch (token) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return;
    case 0xc4: // bin 8
    case 0xd9: // str 8
      return skip(count(1));
    case 0xc5: // bin 16
    case 0xda: // str 16
      return skip(count(2));
    case 0xc6: // bin 32
    case 0xdb: // str 32
      return skip(count(4));
    case 0xcc: // uint 8
    case 0xd0: // int 8
      return skip(1);
    case 0xcd: // uint 16
    case 0xd1: // int 16
      return skip(2);
    case 0xce: // uint 32
    case 0xd2: // int 32
    case 0xca: // float 32
      return skip(4);
    case 0xcb: // float 64
      return skip(8);
    case 0xdc: // array 16
      return scanValues(count(2), depth);
    case 0xdd: // array 32
      return scanValues(count(4), depth);
    case 0xde: // map 16
      return scanMap(count(2), depth);
    case 0xdf: // map 32
      return scanMap(count(4), depth);
    case 0xd4: // fixext 1: only msgpackr's undefined, type 0 and data 0
      if (bytes[at] !== 0 || bytes[at + 1] !== 0) throw malformed('an extension type');
      return skip(2);
    default:
      throw malformed(`type 0x${token.toString(16)} is not allowed`);
  }
}

function scanValues(length: number, depth: number): void {
  if (depth >= DEPTH_MAX) throw malformed(`nested deeper than ${DEPTH_MAX}`);
  if (length > end - at) throw malformed(`${length} values announced, ${end - at} bytes left`);
  const source = bytes;
  let cursor = at;
  for (let index = 0; index < length; index++) {
    // Numbers, most of what columns hold, are passed over here; anything else takes the long way.
    const token = source[cursor] ?? 0xc1;
    const width = SCALAR_WIDTHS[token] ?? 0;
    if (width > 0) {
      cursor += width;
    } else {
      at = cursor;
      scanValue(depth + 1);
      cursor = at;
    }
  }
  if (cursor > end) throw malformed('it ends too early');
  at = cursor;
}

function scanMap(length: number, depth: number): void {
  if (depth >= DEPTH_MAX) throw malformed(`nested deeper than ${DEPTH_MAX}`);
  if (length > end - at) throw malformed(`${length} entries announced, ${end - at} bytes left`);
  for (let index = 0; index < length; index++) {
    const token = bytes[at] ?? 0;
    const isText = (token >= 0xa0 && token < 0xc0) || (token >= 0xd9 && token <= 0xdb);
    if (!isText) throw malformed('a key that is not text');
    const from = at;
    scanValue(depth + 1);
    if (isForbiddenKey(from)) throw malformed('the key __proto__');
    scanValue(depth + 1);
  }
}

const FORBIDDEN = Array.from('__proto__', (char) => char.charCodeAt(0));

/** Whether the text whose token is at `from`, and which ends at the cursor, is `__proto__`. */
function isForbiddenKey(from: number): boolean {
  const start = at - FORBIDDEN.length;
  if (start <= from) return false;
  if (at - from > FORBIDDEN.length + 5) return false;
  for (let index = 0; index < FORBIDDEN.length; index++) {
    if (bytes[start + index] !== FORBIDDEN[index]) return false;
  }
  return true;
}

function count(width: 1 | 2 | 4): number {
  if (width > end - at) throw malformed('it ends too early');
  let value = 0;
  for (let index = 0; index < width; index++) value = value * 256 + (bytes[at++] ?? 0);
  return value;
}

function skip(length: number): void {
  if (length > end - at) throw malformed(`${length} bytes announced, ${end - at} left`);
  at += length;
}

function malformed(problem: string): FarmError {
  return new FarmError('ERR_PROTOCOL', `malformed frame: ${problem}, at byte ${at} of ${end}`);
}

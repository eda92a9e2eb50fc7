import { FarmError } from '../core/index.ts';

/** Size of a request on a data stream, bytes. */
export const STREAM_REQUEST_BYTES = 32;

/** Size of the head of an answer, bytes. */
export const STREAM_ANSWER_BYTES = 16;

/** Bytes that one checksum covers, where there are checksums: the last piece may be shorter. */
export const STREAM_PIECE_BYTES = 1_048_576;

const TWO_TO_32 = 2 ** 32;
const REQUEST_TAG = 0x02;
const ANSWER_OK = 0x03;
const ANSWER_FAILED = 0x04;

/** Asks for the rest of a value from `offset` on. */
export interface StreamRequest {
  readonly task: number;
  readonly offset: number;
  /** Size of the whole value, which the holder's has to have. */
  readonly totalBytes: number;
  /** Whether each piece is followed by its CRC-32, as little-endian u32. */
  readonly checks: boolean;
}

/** What an answer begins with. */
export interface StreamAnswer {
  /** Otherwise a message in UTF-8 follows that says why there is nothing. */
  readonly isOk: boolean;
  /** Bytes of the value, checksums not counted, or of the message. */
  readonly byteLength: number;
}

/**
 * Encodes a request: the tag, 1 where checksums are wanted, 6 zero bytes, then `task`, `offset` and
 * `totalBytes` as little-endian u64.
 */
export function encodeStreamRequest(request: StreamRequest): Uint8Array {
  const bytes = Buffer.alloc(STREAM_REQUEST_BYTES);
  bytes[0] = REQUEST_TAG;
  bytes[1] = request.checks ? 1 : 0;
  writeU64(bytes, 8, request.task);
  writeU64(bytes, 16, request.offset);
  writeU64(bytes, 24, request.totalBytes);
  return bytes;
}

/**
 * Decodes a request.
 *
 * @throws FarmError `ERR_PROTOCOL` where it is none, or asks from beyond the end.
 */
export function decodeStreamRequest(bytes: Uint8Array): StreamRequest {
  const checks = bytes[1];
  if (bytes.byteLength !== STREAM_REQUEST_BYTES || bytes[0] !== REQUEST_TAG) throw malformed();
  if ((checks !== 0 && checks !== 1) || !isZero(bytes.subarray(2, 8))) throw malformed();
  const task = readU64(bytes, 8);
  const offset = readU64(bytes, 16);
  const totalBytes = readU64(bytes, 24);
  if (offset > totalBytes) throw malformed();
  return { task, offset, totalBytes, checks: checks === 1 };
}

/** Encodes the head of an answer: the tag, 7 zero bytes, then `byteLength` as little-endian u64. */
export function encodeStreamAnswer(answer: StreamAnswer): Uint8Array {
  const bytes = Buffer.alloc(STREAM_ANSWER_BYTES);
  bytes[0] = answer.isOk ? ANSWER_OK : ANSWER_FAILED;
  writeU64(bytes, 8, answer.byteLength);
  return bytes;
}

/**
 * Decodes the head of an answer.
 *
 * @throws FarmError `ERR_PROTOCOL` where it is none.
 */
export function decodeStreamAnswer(bytes: Uint8Array): StreamAnswer {
  const [tag] = bytes;
  if (bytes.byteLength !== STREAM_ANSWER_BYTES) throw malformed();
  if ((tag !== ANSWER_OK && tag !== ANSWER_FAILED) || !isZero(bytes.subarray(1, 8))) {
    throw malformed();
  }
  return { isOk: tag === ANSWER_OK, byteLength: readU64(bytes, 8) };
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

function writeU64(target: Buffer, at: number, value: number): void {
  target.writeUInt32LE(value % TWO_TO_32, at);
  target.writeUInt32LE(Math.floor(value / TWO_TO_32), at + 4);
}

function readU64(source: Uint8Array, at: number): number {
  const view = new DataView(source.buffer, source.byteOffset + at, 8);
  const value = view.getUint32(0, true) + view.getUint32(4, true) * TWO_TO_32;
  if (Number.isSafeInteger(value)) return value;
  throw malformed();
}

function malformed(): FarmError {
  return new FarmError('ERR_PROTOCOL', 'malformed frame on a data stream');
}

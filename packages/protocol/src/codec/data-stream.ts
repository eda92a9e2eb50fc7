import { isZero, malformed, readU64, writeU64 } from './stream-fields.ts';

/** Size of a request on a data stream, bytes. */
export const STREAM_REQUEST_BYTES = 32;

/** Size of the head of an answer, bytes. */
export const STREAM_ANSWER_BYTES = 16;

/** Bytes that one checksum covers, where there are checksums: the last piece may be shorter. */
export const STREAM_PIECE_BYTES = 1_048_576;

const REQUEST_TAG = 0x02;
const ANSWER_TAGS = { bytes: 0x03, failed: 0x04, loan: 0x06 } as const;

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
  /**
   * What follows: `bytes` of the value, `failed`, a message in UTF-8 that says why there is nothing,
   * or the terms of a `loan` (see `data-loan.ts`).
   */
  readonly kind: 'bytes' | 'failed' | 'loan';
  /** How much follows, checksums not counted. */
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
  bytes[0] = ANSWER_TAGS[answer.kind];
  writeU64(bytes, 8, answer.byteLength);
  return bytes;
}

/**
 * Decodes the head of an answer.
 *
 * @throws FarmError `ERR_PROTOCOL` where it is none.
 */
export function decodeStreamAnswer(bytes: Uint8Array): StreamAnswer {
  const kind = (['bytes', 'failed', 'loan'] as const).find((one) => ANSWER_TAGS[one] === bytes[0]);
  if (bytes.byteLength !== STREAM_ANSWER_BYTES || kind === undefined) throw malformed();
  if (!isZero(bytes.subarray(1, 8))) throw malformed();
  return { kind, byteLength: readU64(bytes, 8) };
}

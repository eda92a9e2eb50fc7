import type { BulkFrame } from '../connection.ts';
import { FarmError } from '../core/index.ts';

/** First byte of a bulk frame. A control frame begins with a msgpack array token, 0x90 or above. */
export const BULK_TAG = 0x01;

/** Size of a bulk frame's header; a multiple of 8, so that an aligned frame has aligned bytes. */
export const BULK_HEADER_BYTES = 32;

const TWO_TO_32 = 2 ** 32;

/**
 * Encodes the header that goes before a bulk frame's bytes: the tag, 7 zero bytes, then `request`,
 * `totalBytes` and `offset` as little-endian u64. The bytes themselves follow as they are.
 */
export function encodeBulkHeader(frame: BulkFrame): Uint8Array {
  const header = Buffer.alloc(BULK_HEADER_BYTES);
  header[0] = BULK_TAG;
  writeU64(header, 8, frame.request);
  writeU64(header, 16, frame.totalBytes);
  writeU64(header, 24, frame.offset);
  return header;
}

/** Whether a frame is a bulk frame rather than a batch of messages. */
export function isBulk(frame: Uint8Array): boolean {
  return frame[0] === BULK_TAG;
}

/**
 * Decodes a bulk frame that arrived as one piece, or as header and bytes apart.
 *
 * @param head - The whole frame, or at least its header.
 * @param rest - The bytes that follow `head`.
 * @returns A frame whose bytes are a view where one piece holds them all.
 * @throws FarmError `ERR_PROTOCOL` where the header is short, its numbers are not sane, or the
 *   bytes reach past the announced size.
 */
export function decodeBulk(head: Uint8Array, rest: readonly Uint8Array[] = []): BulkFrame {
  if (head.byteLength < BULK_HEADER_BYTES || head[0] !== BULK_TAG) {
    throw new FarmError('ERR_PROTOCOL', 'malformed bulk frame: its header is too short');
  }
  for (let index = 1; index < 8; index++) {
    if (head[index] !== 0) throw new FarmError('ERR_PROTOCOL', 'malformed bulk frame: its header');
  }
  const view = Buffer.from(head.buffer, head.byteOffset, BULK_HEADER_BYTES);
  const request = readU64(view, 8, 'request');
  const totalBytes = readU64(view, 16, 'totalBytes');
  const offset = readU64(view, 24, 'offset');
  const bytes = joined(head.subarray(BULK_HEADER_BYTES), rest);
  if (offset + bytes.byteLength > totalBytes) {
    throw new FarmError(
      'ERR_PROTOCOL',
      `malformed bulk frame: ${bytes.byteLength} bytes at ${offset} of a value of ${totalBytes}`,
    );
  }
  return { request, totalBytes, offset, bytes };
}

function joined(first: Uint8Array, rest: readonly Uint8Array[]): Uint8Array {
  const [second] = rest;
  if (second === undefined) return first;
  if (first.byteLength === 0 && rest.length === 1) return second;
  return Buffer.concat([first, ...rest]);
}

function writeU64(target: Buffer, at: number, value: number): void {
  target.writeUInt32LE(value % TWO_TO_32, at);
  target.writeUInt32LE(Math.floor(value / TWO_TO_32), at + 4);
}

function readU64(source: Buffer, at: number, field: string): number {
  const value = source.readUInt32LE(at) + source.readUInt32LE(at + 4) * TWO_TO_32;
  if (Number.isSafeInteger(value)) return value;
  throw new FarmError('ERR_PROTOCOL', `malformed bulk frame: ${field} is out of range`);
}

import { FarmError } from '../core/index.ts';

/** First byte of an acknowledgement; see `BULK_TAG` for those of the other frames. */
export const ACK_TAG = 0x02;

const ACK_BYTES = 16;
const TWO_TO_32 = 2 ** 32;

/**
 * Encodes how many frames of the peer have arrived: the tag, 7 zero bytes, the count as
 * little-endian u64. Acknowledgements themselves are not counted.
 */
export function encodeAck(count: number): Uint8Array {
  const frame = Buffer.alloc(ACK_BYTES);
  frame[0] = ACK_TAG;
  frame.writeUInt32LE(count % TWO_TO_32, 8);
  frame.writeUInt32LE(Math.floor(count / TWO_TO_32), 12);
  return frame;
}

/** Whether a frame is an acknowledgement. */
export function isAck(frame: Uint8Array): boolean {
  return frame[0] === ACK_TAG;
}

/**
 * Decodes an acknowledgement.
 *
 * @throws FarmError `ERR_PROTOCOL` where it is not one.
 */
export function decodeAck(frame: Uint8Array): number {
  const view = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const isWhole = view.byteLength === ACK_BYTES && view.readUInt32LE(4) === 0;
  const isTagged = isWhole && view.readUInt32LE(0) === ACK_TAG;
  const count = isTagged ? view.readUInt32LE(8) + view.readUInt32LE(12) * TWO_TO_32 : Number.NaN;
  if (Number.isSafeInteger(count)) return count;
  throw new FarmError('ERR_PROTOCOL', 'malformed acknowledgement');
}

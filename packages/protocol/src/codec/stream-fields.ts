import { FarmError } from '../core/index.ts';

const TWO_TO_32 = 2 ** 32;

/** Writes a whole number up to 2^53 as little-endian u64. */
export function writeU64(target: Buffer, at: number, value: number): void {
  target.writeUInt32LE(value % TWO_TO_32, at);
  target.writeUInt32LE(Math.floor(value / TWO_TO_32), at + 4);
}

/**
 * Reads a little-endian u64.
 *
 * @throws FarmError `ERR_PROTOCOL` where it is more than a number can hold exactly.
 */
export function readU64(source: Uint8Array, at: number): number {
  const view = new DataView(source.buffer, source.byteOffset + at, 8);
  const value = view.getUint32(0, true) + view.getUint32(4, true) * TWO_TO_32;
  if (Number.isSafeInteger(value)) return value;
  throw malformed();
}

/** Whether what is reserved is left empty. */
export function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** For what does not come from a peer of ours. */
export function malformed(): FarmError {
  return new FarmError('ERR_PROTOCOL', 'malformed frame on a data stream');
}

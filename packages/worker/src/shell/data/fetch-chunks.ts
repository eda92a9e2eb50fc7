import { FarmError, LIMITS, type BulkFrame } from '@farm/protocol';

/**
 * Brings a value of known size over in chunks, up to `LIMITS.bulkChunksInFlightMax` of them
 * requested ahead.
 *
 * @param value - Where it goes.
 * @param from - How much of it is there already.
 * @param askChunk - Asks for `length` bytes from `offset`.
 * @throws FarmError what a question ended with; `ERR_LOST_DATA` where the holder's value has
 * another size, `ERR_PROTOCOL` where a chunk is not the one that was asked for.
 */
export async function fetchChunks(
  value: Uint8Array,
  from: number,
  askChunk: (offset: number, length: number) => Promise<BulkFrame>,
): Promise<void> {
  const sizeBytes = value.byteLength;
  let next = from;
  let isFailed = false;
  const fetchInTurn = async (): Promise<void> => {
    while (next < sizeBytes && !isFailed) {
      const offset = next;
      const length = Math.min(LIMITS.bulkChunkBytes, sizeBytes - offset);
      next += length;
      try {
        const frame = await askChunk(offset, length);
        checkChunk(frame, offset, length, sizeBytes);
        value.set(frame.bytes, offset);
      } catch (error) {
        isFailed = true;
        throw error;
      }
    }
  };
  const lanes = Math.min(
    LIMITS.bulkChunksInFlightMax,
    Math.ceil((sizeBytes - from) / LIMITS.bulkChunkBytes),
  );
  await Promise.all(Array.from({ length: lanes }, fetchInTurn));
}

function checkChunk(frame: BulkFrame, offset: number, length: number, sizeBytes: number): void {
  if (frame.totalBytes !== sizeBytes) {
    throw new FarmError(
      'ERR_LOST_DATA',
      `the holder has a value of ${frame.totalBytes} bytes, expected one of ${sizeBytes}`,
    );
  }
  if (frame.offset !== offset || frame.bytes.byteLength !== length) {
    throw new FarmError(
      'ERR_PROTOCOL',
      `asked for ${length} bytes from ${offset}, got ${frame.bytes.byteLength} from ${frame.offset}`,
    );
  }
}

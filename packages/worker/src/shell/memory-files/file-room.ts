import { FILE_PAGE_BYTES, type FilePages } from './file-pages.ts';

/**
 * Smaller values are not worth a file: to copy one takes a few milliseconds. And below, memory may come
 * from what the allocator has, which is no place for pages of a file.
 */
export const MEMORY_FILE_BYTES_MIN = 33_554_432;

/** Bytes of a file that has a value of this size. */
export function fileBytes(valueBytes: number): number {
  return Math.ceil(valueBytes / FILE_PAGE_BYTES) * FILE_PAGE_BYTES;
}

/**
 * Bytes of a buffer for a value of this size that pages of a file may come to lie in, wherever it
 * begins. What is not used of it has an address, and no memory.
 */
export function roomBytes(valueBytes: number): number {
  if (valueBytes < MEMORY_FILE_BYTES_MIN) return valueBytes;
  return fileBytes(valueBytes) + FILE_PAGE_BYTES;
}

/**
 * The part of such a buffer where the pages go. Undefined where the buffer is too small, or its memory not
 * of the kind.
 */
export function fileRegion(
  pages: FilePages,
  buffer: ArrayBufferLike,
  valueBytes: number,
): Uint8Array | undefined {
  if (valueBytes < MEMORY_FILE_BYTES_MIN || buffer.byteLength < roomBytes(valueBytes)) {
    return undefined;
  }
  if (!pages.isAlone(buffer)) return undefined;
  const address = pages.addressOf(buffer);
  if (!Number.isSafeInteger(address)) return undefined;
  const offset = Math.ceil(address / FILE_PAGE_BYTES) * FILE_PAGE_BYTES - address;
  return new Uint8Array(buffer, offset, fileBytes(valueBytes));
}

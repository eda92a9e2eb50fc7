import { openFilePages } from './file-pages.ts';
import { fileRegion, roomBytes } from './file-room.ts';
import { fileOf, keepFile, releaseFileOf } from './value-files.ts';

/**
 * The same value in memory that threads can share, by its file: nothing is copied. Undefined where it has
 * none; the file is the new one's otherwise.
 */
export function shareByFile(value: Uint8Array): Uint8Array | undefined {
  const file = fileOf(value.buffer);
  const pages = file === undefined ? undefined : openFilePages();
  if (file === undefined || pages === undefined) return undefined;
  const memory = new SharedArrayBuffer(roomBytes(value.byteLength));
  const region = fileRegion(pages, memory, value.byteLength);
  if (region === undefined || !pages.map(file, region, 'private')) return undefined;
  pages.touch(region);
  releaseFileOf(value.buffer);
  keepFile(memory, file);
  return new Uint8Array(memory, region.byteOffset, value.byteLength);
}

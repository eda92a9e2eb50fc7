import { openFilePages } from './file-pages.ts';
import { fileRegion, roomBytes } from './file-room.ts';
import { fileOf, keepFile, releaseFileOf } from './value-files.ts';

/**
 * A value once more, in memory of its own that can be written to and moved, by its file: nothing is
 * copied until it is written to. Undefined where it has no file.
 */
export function ownByFile(value: Uint8Array): Uint8Array | undefined {
  if (fileOf(value.buffer) === undefined) return undefined;
  return mapAgain(value, new ArrayBuffer(roomBytes(value.byteLength)));
}

/**
 * The same value in memory that threads can share, by its file: nothing is copied. Undefined where it has
 * none; the file is the new one's otherwise.
 */
export function shareByFile(value: Uint8Array): Uint8Array | undefined {
  if (fileOf(value.buffer) === undefined) return undefined;
  const shared = mapAgain(value, new SharedArrayBuffer(roomBytes(value.byteLength)));
  const file = shared && releaseFileOf(value.buffer);
  if (file !== undefined && shared !== undefined) keepFile(shared.buffer, file);
  return shared;
}

function mapAgain(value: Uint8Array, memory: ArrayBufferLike): Uint8Array | undefined {
  const file = fileOf(value.buffer);
  const pages = openFilePages();
  const region = pages && fileRegion(pages, memory, value.byteLength);
  if (file === undefined || pages === undefined || region === undefined) return undefined;
  // Memory that this goes wrong for is given up, whatever there is left of it.
  if (!pages.map(file, region, 'private')) return undefined;
  return new Uint8Array(memory, region.byteOffset, value.byteLength);
}

import type { FilePages } from './file-pages.ts';
import { fileBytes, fileRegion, roomBytes } from './file-room.ts';

/** Memory whose pages are those of a file, for now of one that is written to. */
export interface FileMemory {
  readonly file: number;
  /** All pages of the file. */
  readonly region: Uint8Array;
  /** As much of it as was asked for, from its beginning. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Gets zeroed memory in a new file. Undefined where the system has none, in huge pages, to give. */
export function allocateInFile(
  pages: FilePages,
  name: string,
  sizeBytes: number,
): FileMemory | undefined {
  const file = pages.make(name, fileBytes(sizeBytes));
  if (file === undefined) return undefined;
  const buffer = new ArrayBuffer(roomBytes(sizeBytes));
  const region = fileRegion(pages, buffer, sizeBytes);
  if (region === undefined || !pages.map(file, region, 'shared') || !pages.fill(region)) {
    pages.close(file);
    return undefined;
  }
  return { file, region, bytes: new Uint8Array(buffer, region.byteOffset, sizeBytes) };
}

/**
 * Seals the file of what has been written: from here on it is what it is, and what is written to the memory
 * is this process's own.
 *
 * @returns Whether that went well. Else the file is closed, and the memory is there all the same.
 * @throws RangeError where the system has no memory left for this; the memory is not to be touched then.
 */
export function sealFile(pages: FilePages, { file, region }: Omit<FileMemory, 'bytes'>): boolean {
  const isOwn = pages.map(file, region, 'private');
  if (!isOwn && !pages.isWhole(region)) {
    pages.close(file);
    throw new RangeError('the system has no memory to take over a result with');
  }
  if (isOwn && pages.seal(file)) {
    pages.touch(region);
    return true;
  }
  pages.close(file);
  return false;
}

import { fstatSync } from 'node:fs';

import type { LoanedFile } from '@farm/protocol';

import type { PartialValue } from '../data/partial-value.ts';
import type { FilePages } from './file-pages.ts';
import { fileBytes, fileRegion } from './file-room.ts';
import { keepFile } from './value-files.ts';

/**
 * Brings a value over by mapping the file that has it: nothing is copied, and what is written to it here
 * is this process's own. The file is the value's from here on, for others to be given.
 *
 * @param pid - The process that has the file open.
 * @returns What went wrong; undefined where the value has arrived.
 */
export function mapValue(
  pages: FilePages,
  pid: number,
  lent: LoanedFile,
  into: PartialValue,
): string | undefined {
  if (into.arrivedBytes > 0) return 'some of it is there already';
  const { buffer } = into.allocate();
  const region = fileRegion(pages, buffer, into.totalBytes);
  if (region === undefined) return 'its memory is not of the kind';
  const file = pages.open(`/proc/${pid}/fd/${lent.descriptor}`);
  if (file === undefined) return 'its file cannot be opened';
  const problem = problemOf(pages, file, lent, into.totalBytes);
  if (problem !== undefined || !pages.map(file, region, 'private')) {
    pages.close(file);
    if (!pages.isWhole(region)) into.discard();
    return problem ?? 'its file cannot be mapped';
  }
  pages.touch(region);
  into.moveTo(region.byteOffset);
  into.arrivedBytes = into.totalBytes;
  keepFile(buffer, file);
  return undefined;
}

/** A process of another namespace may have the same number, and anything open. */
function problemOf(
  pages: FilePages,
  file: number,
  lent: LoanedFile,
  valueBytes: number,
): string | undefined {
  const { dev, ino, size } = fstatSync(file, { bigint: true });
  if (dev !== lent.device || ino !== lent.inode || size < BigInt(fileBytes(valueBytes))) {
    return 'it is another file';
  }
  return pages.isSealed(file) ? undefined : 'its file is not sealed';
}

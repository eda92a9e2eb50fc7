import { readdirSync, readlinkSync } from 'node:fs';

import { openFilePages } from './file-pages.ts';
import { isFileOfValue } from './value-files.ts';

const DESCRIPTORS = '/proc/self/fd';

/** What the files of a thread are called. */
export function fileName(threadId: number): string {
  return `farm-result-${threadId}`;
}

/**
 * Closes the files of a thread that has ended and did not get to hand them over. To be called when
 * everything that it said has been taken.
 */
export function closeFilesOfThread(threadId: number): void {
  const target = `/memfd:${fileName(threadId)} (deleted)`;
  for (const file of descriptors()) {
    if (isFileOfValue(file) || linkOf(file) !== target) continue;
    openFilePages()?.close(file);
  }
}

function descriptors(): readonly number[] {
  try {
    return readdirSync(DESCRIPTORS).map(Number);
  } catch {
    // No such directory, no such files.
    return [];
  }
}

function linkOf(file: number): string | undefined {
  try {
    return readlinkSync(`${DESCRIPTORS}/${file}`);
  } catch {
    // Another thread closed it meanwhile.
    return undefined;
  }
}

import { threadId } from 'node:worker_threads';

import { allocateInFile, sealFile } from './file-memory.ts';
import { openFilePages } from './file-pages.ts';
import { MEMORY_FILE_BYTES_MIN } from './file-room.ts';
import { fileName } from './thread-files.ts';
import { keepFile, mayKeepFile } from './value-files.ts';

/** A copy of a value that has a file. Undefined where there is none to be had. */
export function moveToFile(value: Uint8Array): Uint8Array | undefined {
  if (value.byteLength < MEMORY_FILE_BYTES_MIN || !mayKeepFile()) return undefined;
  const pages = openFilePages();
  const made = pages && allocateInFile(pages, fileName(threadId), value.byteLength);
  if (pages === undefined || made === undefined) return undefined;
  made.bytes.set(value);
  if (!sealFile(pages, made)) return undefined;
  keepFile(made.bytes.buffer, made.file);
  return made.bytes;
}

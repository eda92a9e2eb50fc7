/** Small files that hold secrets: written whole or not at all, read without surprises. */
import { constants } from 'node:fs';
import { open, rename, unlink } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import { nanoid } from 'nanoid';

/** Largest file that is read, bytes; ours have less than a hundredth of it. */
const BYTES_MAX = 1_048_576;

/**
 * Replaces `path` in one step: whoever reads it sees the old content or the new one, complete. The
 * file is readable by its owner only, and on disk when this returns.
 *
 * @throws Error of the file system; nothing is left behind then.
 */
export async function writePrivateFile(path: string, content: string): Promise<void> {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${process.pid}.${nanoid(8)}.tmp`);
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
  await syncDirectory(directory);
}

/** What {@link readSmallFile} found. */
export interface SmallFile {
  readonly text: string;
  /** Permission bits. */
  readonly mode: number;
}

/** A path that is there and is not what it should be. */
export class NotASmallFile extends Error {}

/**
 * Reads a file that should be small and regular; never waits, as it would on a FIFO.
 *
 * @throws NotASmallFile where it is a directory, a FIFO, a device or too large; else an error of
 *   the file system.
 */
export async function readSmallFile(path: string): Promise<SmallFile> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const stats = await file.stat();
    if (stats.isDirectory()) throw new NotASmallFile('it is a directory');
    if (!stats.isFile()) throw new NotASmallFile('it is not a regular file');
    if (stats.size > BYTES_MAX) {
      throw new NotASmallFile(`it has ${stats.size} bytes, ${BYTES_MAX} at most are expected`);
    }
    const buffer = Buffer.alloc(stats.size);
    let length = 0;
    while (length < buffer.byteLength) {
      const { bytesRead } = await file.read(buffer, length, buffer.byteLength - length, length);
      if (bytesRead === 0) break;
      length += bytesRead;
    }
    const text = buffer
      .subarray(0, length)
      .toString('utf8')
      .replace(/^\uFEFF/, '');
    return { text, mode: stats.mode & 0o777 };
  } finally {
    await file.close();
  }
}

/** Makes a rename in a directory durable, where the file system can. */
async function syncDirectory(directory: string): Promise<void> {
  try {
    const handle = await open(directory, constants.O_RDONLY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch {
    // Some network file systems refuse to sync a directory; the rename itself has happened.
  }
}

import { open, rm, type FileHandle } from 'node:fs/promises';
import { crc32 } from 'node:zlib';

import { FarmError, LIMITS } from '@farm/protocol';

/** Bytes that one checksum covers: what a peer asks for at a time, so that it is checked alone. */
const PIECE_BYTES = LIMITS.bulkChunkBytes;

/** A value in a file: its bytes as they are, with a checksum for each piece of them kept here. */
export interface SpillFile {
  readonly path: string;
  readonly sizeBytes: number;
  /** CRC-32 of each MiB. */
  readonly checks: Uint32Array;
}

/**
 * Writes a value to a new file. What could not be written whole leaves nothing behind.
 *
 * @throws what the system said, for example `ENOSPC`.
 */
export async function writeSpillFile(path: string, value: Uint8Array): Promise<SpillFile> {
  const sizeBytes = value.byteLength;
  const checks = new Uint32Array(Math.ceil(sizeBytes / PIECE_BYTES));
  const file = await open(path, 'wx', 0o600);
  try {
    for (const index of checks.keys()) {
      const piece = value.subarray(index * PIECE_BYTES, (index + 1) * PIECE_BYTES);
      checks[index] = crc32(piece);
      await writeAll(file, piece);
    }
  } catch (error) {
    await file.close();
    await rm(path, { force: true });
    throw error;
  }
  await file.close();
  return { path, sizeBytes, checks };
}

/**
 * Reads `length` bytes from `offset`, or those that there are, without reading more than the pieces
 * they are in.
 *
 * @throws FarmError `ERR_LOST_DATA` where the file is gone, cut off or does not match its checksums;
 * the message names it.
 */
export async function readSpillFile(
  { path, sizeBytes, checks }: SpillFile,
  offset: number = 0,
  length: number = sizeBytes,
): Promise<Uint8Array> {
  const end = Math.min(sizeBytes, offset + length);
  const start = Math.floor(offset / PIECE_BYTES) * PIECE_BYTES;
  const stop = Math.min(sizeBytes, Math.ceil(end / PIECE_BYTES) * PIECE_BYTES);
  const bytes = new Uint8Array(Math.max(0, stop - start));
  let file: FileHandle | undefined;
  try {
    file = await open(path, 'r');
    for (let at = start; at < stop; at += PIECE_BYTES) {
      const piece = bytes.subarray(at - start, Math.min(stop, at + PIECE_BYTES) - start);
      const read = await readAll(file, piece, at);
      if (read < piece.byteLength) throw new Error(`it ends at ${at + read} of ${sizeBytes} bytes`);
      if (crc32(piece) !== checks[at / PIECE_BYTES]) {
        throw new Error(`its checksum is wrong at ${at}`);
      }
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new FarmError('ERR_LOST_DATA', `spill file ${path} is of no use: ${reason}`, {
      cause: error,
    });
  } finally {
    await file?.close();
  }
  return bytes.subarray(offset - start, end - start);
}

async function writeAll(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.byteLength;) {
    const { bytesWritten } = await file.write(bytes, at);
    at += bytesWritten;
  }
}

/** Returns how many bytes there were. */
async function readAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<number> {
  let at = 0;
  while (at < bytes.byteLength) {
    const { bytesRead } = await file.read(bytes, at, bytes.byteLength - at, position + at);
    if (bytesRead === 0) break;
    at += bytesRead;
  }
  return at;
}

import { open } from 'node:fs/promises';

import { type OutputRecordHead, parseRecordHead, RECORD_MARK } from './output-record.ts';

const CHUNK_BYTES = 1_048_576;
/** A record's first line is shorter; a key has a limit. */
const HEAD_BYTES_MAX = 65_536;
const LINE_BREAK = 0x0a;

/** What one command wrote at one time. */
export interface OutputRecord extends OutputRecordHead {
  readonly bytes: Uint8Array;
}

/**
 * Reads a file that a worker streamed the output of its commands to. A record that is torn, at the
 * end of the file or where the disk was full, is left out, and reading goes on behind it.
 *
 * @throws what the system says where the file cannot be read
 *
 * @example
 * for await (const { key, stream, bytes } of readOutput('farm-output/w-1.farm-output')) {
 *   if (stream === 'stdout') console.log(key, Buffer.from(bytes).toString());
 * }
 */
export async function* readOutput(path: string): AsyncGenerator<OutputRecord, void, void> {
  await using file = await open(path, 'r');
  let buffer: Buffer = Buffer.alloc(0);
  let isAtEnd = false;
  const fill = async (bytes: number): Promise<boolean> => {
    const chunks = [buffer];
    let held = buffer.byteLength;
    while (held < bytes && !isAtEnd) {
      const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
      const { bytesRead } = await file.read(chunk, 0, chunk.byteLength);
      isAtEnd = bytesRead === 0;
      chunks.push(chunk.subarray(0, bytesRead));
      held += bytesRead;
    }
    if (chunks.length > 1) buffer = Buffer.concat(chunks);
    return held >= bytes;
  };
  while (await fill(1)) {
    await fill(HEAD_BYTES_MAX);
    const end = buffer.subarray(0, HEAD_BYTES_MAX).indexOf(LINE_BREAK);
    const head = end < 0 ? undefined : parseRecordHead(buffer.toString('utf8', 0, end));
    const last = end + 1 + (head?.bytes ?? 0);
    if (head !== undefined && (await fill(last + 1)) && buffer[last] === LINE_BREAK) {
      const { bytes: _, ...whose } = head;
      yield { ...whose, bytes: Buffer.from(buffer.subarray(end + 1, last)) };
      buffer = buffer.subarray(last + 1);
      continue;
    }
    // Torn: the next record begins at some later line.
    const next = buffer.indexOf(`\n${RECORD_MARK}`);
    const keep = next < 0 ? Math.max(1, buffer.byteLength - RECORD_MARK.length) : next + 1;
    buffer = buffer.subarray(keep);
  }
}

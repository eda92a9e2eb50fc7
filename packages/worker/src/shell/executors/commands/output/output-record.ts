/**
 * The files that output is streamed to: records one after the other, each a line that tells whose
 * bytes follow, the bytes, and a line break.
 *
 *     @farm {"key":"sim-1","attempt":1,"stream":"stdout","bytes":6}
 *     hello
 *
 */

/** Begins every record. */
export const RECORD_MARK = '@farm ';

/** Whose output a record has. */
export interface OutputRecordHead {
  readonly key: string;
  /** From 1. */
  readonly attempt: number;
  readonly stream: 'stdout' | 'stderr';
}

/** A record, ready to be written. */
export function outputRecord(head: OutputRecordHead, chunk: Uint8Array): Buffer {
  const { key, attempt, stream } = head;
  const line = JSON.stringify({ key, attempt, stream, bytes: chunk.byteLength });
  return Buffer.concat([Buffer.from(`${RECORD_MARK}${line}\n`), chunk, Buffer.from('\n')]);
}

/** Reads a record's first line, without its line break; undefined where it is none. */
export function parseRecordHead(
  line: string,
): (OutputRecordHead & { readonly bytes: number }) | undefined {
  if (!line.startsWith(RECORD_MARK)) return undefined;
  try {
    const head: unknown = JSON.parse(line.slice(RECORD_MARK.length));
    if (typeof head !== 'object' || head === null) return undefined;
    const { key, attempt, stream, bytes }: Partial<Record<string, unknown>> = { ...head };
    const isHead =
      typeof key === 'string' &&
      typeof attempt === 'number' &&
      (stream === 'stdout' || stream === 'stderr') &&
      Number.isSafeInteger(bytes) &&
      Number(bytes) >= 0;
    return isHead ? { key, attempt, stream, bytes: Number(bytes) } : undefined;
  } catch {
    return undefined;
  }
}

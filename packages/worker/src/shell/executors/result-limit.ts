import { formatBytes } from '@farm/protocol';

/** The largest encoded result that a worker takes, bytes, and what is said of a larger one. */
export interface ResultLimit {
  readonly bytes: number;
  readonly tooLarge: string;
}

/** Results are limited to the memory that the worker may take; undefined for no limit. */
export function resultLimit(
  bytes: number | undefined,
  workerName: string,
): ResultLimit | undefined {
  if (bytes === undefined) return undefined;
  const tooLarge =
    `takes more than ${formatBytes(bytes)}, the memory limit of worker ${workerName}: return ` +
    'less, write it to a file, or raise --memory-limit';
  return { bytes, tooLarge };
}

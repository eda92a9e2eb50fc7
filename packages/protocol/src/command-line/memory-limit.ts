import { FarmError } from '../core/errors.ts';
import { parseDecimal } from '../numbers.ts';
import { quote } from '../quote.ts';
import { formatBytes, parseBytes } from '../units.ts';

/** What {@link parseMemoryLimit} divides. */
export interface MemoryCapacity {
  /** The memory there is: see `systemMemoryBytes()`. */
  readonly totalBytes: number;
  /** The threads of the worker the limit is for. */
  readonly nthreads: number;
  /** The cores there are: see `affinityCount()`. */
  readonly cores: number;
}

/** A worker's memory limit. */
export interface MemoryLimit {
  /** Null where the worker has no limit. */
  readonly limitBytes: number | null;
  /** What the user should know, in one sentence to log. */
  readonly warning?: string;
}

/** Less than this is not enough for the worker itself, and most likely lacks a unit. */
const PLAUSIBLE_BYTES = 32 * 1024 * 1024;

/**
 * Reads a worker's `--memory-limit` as Dask does: `auto` (the share of the total that the worker's
 * threads are of the cores), `0` (no limit), a fraction of the total (`0.5`; `1` is all of it),
 * bytes (`1e9`) or a size with a unit (`5GB`, `5GiB`). More than the total is lowered to it, with
 * a warning.
 *
 * @throws FarmError `ERR_ARGUMENT` for anything else.
 *
 * @example
 * parseMemoryLimit('auto', { totalBytes: 64e9, nthreads: 4, cores: 16 }); // { limitBytes: 16e9 }
 */
export function parseMemoryLimit(text: string, capacity: MemoryCapacity): MemoryLimit {
  const { totalBytes, nthreads, cores } = capacity;
  const word = text.trim().toLowerCase();
  if (word === 'auto') {
    return { limitBytes: Math.floor(totalBytes * Math.min(1, nthreads / cores)) };
  }
  const number = parseDecimal(word);
  if (number === 0) return { limitBytes: null };
  if (number !== undefined && number > 0 && number <= 1) {
    return { limitBytes: Math.floor(totalBytes * number) };
  }
  const bytes = number !== undefined && !Number.isInteger(number) ? undefined : sizeOf(text);
  if (bytes === undefined) {
    throw new FarmError(
      'ERR_ARGUMENT',
      `${quote(text)} is not a memory limit; write auto, 0 (no limit), a fraction such as 0.5, ` +
        'bytes such as 1e9, or a size such as 5GB or 5GiB',
    );
  }
  if (bytes === 0) return { limitBytes: null };
  if (bytes > totalBytes) {
    const warning =
      `the memory limit ${text.trim()} is more than there is, ` +
      `using all of it: ${formatBytes(totalBytes)}`;
    return { limitBytes: totalBytes, warning };
  }
  if (bytes < PLAUSIBLE_BYTES) {
    const warning =
      `the memory limit ${text.trim()} is only ${formatBytes(bytes)}, ` +
      'less than a worker itself needs; was a unit such as GB forgotten?';
    return { limitBytes: bytes, warning };
  }
  return { limitBytes: bytes };
}

function sizeOf(text: string): number | undefined {
  try {
    return parseBytes(text);
  } catch {
    return undefined;
  }
}

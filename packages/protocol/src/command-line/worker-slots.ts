import { FarmError } from '../core/errors.ts';
import { parseInteger } from '../numbers.ts';
import { quote } from '../quote.ts';

/**
 * Reads `--nthreads`: a whole number of at least 1, or `0` or `auto` for an even share of the
 * cores.
 *
 * @throws FarmError `ERR_ARGUMENT` for anything else.
 */
export function parseThreadCount(text: string): number | 'auto' {
  if (text.trim().toLowerCase() === 'auto') return 'auto';
  return parseInteger(text, { max: 65_536 }) || 'auto';
}

/**
 * Reads `--nworkers` as Dask does: a whole number of at least 1, `auto`, or a negative number that
 * counts back from the cores: -1 is one a core, -2 one less.
 *
 * @throws FarmError `ERR_ARGUMENT` for anything else.
 */
export function parseWorkerCount(text: string): number | 'auto' {
  if (text.trim().toLowerCase() === 'auto') return 'auto';
  const count = parseInteger(text, { min: -65_536, max: 65_536 });
  if (count !== 0) return count;
  throw new FarmError('ERR_ARGUMENT', `${quote(text)} starts no worker, write 1 or more, or auto`);
}

/** What {@link workerSlots} divides. */
export interface WorkerSlotsOptions {
  readonly nthreads: number | 'auto';
  readonly nworkers: number | 'auto';
  /** The cores there are: see `affinityCount()`. */
  readonly cores: number;
}

/**
 * How many worker processes to start, and how many threads each has. With `nthreads: 'auto'` the
 * threads of all add up to the cores: the first workers take the remainder. With
 * `nworkers: 'auto'`, processes and threads are balanced as Dask balances them.
 *
 * @returns The threads of each worker.
 * @throws FarmError `ERR_ARGUMENT` where a negative `nworkers` reaches below one.
 *
 * @example
 * workerSlots({ nthreads: 'auto', nworkers: 3, cores: 8 }); // [3, 3, 2]
 */
export function workerSlots(options: WorkerSlotsOptions): readonly number[] {
  const { nthreads, cores } = options;
  const count = workerCount(options);
  if (nthreads !== 'auto') return Array.from({ length: count }, () => nthreads);
  return Array.from({ length: count }, (_, index) => {
    return Math.max(1, Math.floor(cores / count) + (index < cores % count ? 1 : 0));
  });
}

function workerCount({ nthreads, nworkers, cores }: WorkerSlotsOptions): number {
  if (nworkers === 'auto') {
    return nthreads === 'auto' ? balancedWorkers(cores) : Math.max(1, Math.floor(cores / nthreads));
  }
  if (nworkers > 0) return nworkers;
  const count = cores + 1 + nworkers;
  if (count > 0) return count;
  throw new FarmError(
    'ERR_ARGUMENT',
    `${nworkers} workers: counting back from ${cores} cores leaves none, ` +
      `write at least ${-cores}`,
  );
}

/**
 * One process a core up to four cores; else the least divisor of the cores that is at least their
 * square root. From Dask: `distributed.deploy.utils.nprocesses_nthreads`.
 */
function balancedWorkers(cores: number): number {
  if (cores <= 4) return cores;
  let count = Math.ceil(Math.sqrt(cores));
  while (cores % count !== 0) count += 1;
  return count;
}

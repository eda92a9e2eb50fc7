import { availableParallelism } from 'node:os';

import type { LoanTerms } from '@farm/protocol';
import PQueue from 'p-queue';

import { openFilePages } from '../../memory-files/file-pages.ts';
import { mapValue } from '../../memory-files/map-value.ts';
import type { DataStream } from '../data-stream.ts';
import type { PartialValue } from '../partial-value.ts';
import type { OpenHostMemory } from './host-memory.ts';
import { readLoan } from './read-loan.ts';

/** Reads at once, of all values: two fill the memory's bandwidth, and libuv's pool has more to do. */
const READS_MAX = 2;

/** Smaller values are not worth the loan. */
const BORROWED_BYTES_MIN = 1_048_576;

/** Options of {@link Borrower}. */
export interface BorrowerOptions {
  readonly openHostMemory: OpenHostMemory;
  /** Told why a value is not read from the memory of its holder. */
  readonly refused: (why: string) => void;
}

/**
 * Brings values over from holders on this host by reading them where they lie, in the memory of their
 * holder: one copy, where a socket takes two. A connection on which that failed is not asked again.
 */
export class Borrower {
  readonly #options: BorrowerOptions;
  readonly #reads = new PQueue({ concurrency: Math.min(READS_MAX, availableParallelism()) });
  readonly #refused = new WeakSet<DataStream>();

  constructor(options: BorrowerOptions) {
    this.#options = options;
  }

  /**
   * Brings over the rest of a value, or part of it.
   *
   * @returns Whether all of it is there. Where it is not, the holder may still send it.
   * @throws FarmError see `DataStream.borrow`.
   */
  async fetch(stream: DataStream, task: number, into: PartialValue): Promise<boolean> {
    if (!stream.isLocal || this.#refused.has(stream)) return false;
    if (into.totalBytes - into.arrivedBytes < BORROWED_BYTES_MIN) return false;
    const memory = this.#options.openHostMemory();
    if (memory === undefined) return false;
    const terms = await stream.borrow(task, process.pid, into);
    if (terms === undefined) return false;
    if (isMapped(terms, into)) {
      stream.giveBack();
      return true;
    }
    const { signal } = stream;
    const reading = { memory, reads: this.#reads, terms, signal };
    const problem = await readLoan(into, reading).finally(() => stream.giveBack());
    if (problem === undefined) return true;
    // Where the connection has ended, the fetch that follows tells.
    if (!signal.aborted) this.#options.refused(problem);
    this.#refused.add(stream);
    return false;
  }
}

/** Brings a value over without a copy. Where that cannot be done, it can still be read. */
function isMapped({ file, pid }: LoanTerms, into: PartialValue): boolean {
  const pages = file && openFilePages();
  if (file === undefined || pages === undefined) return false;
  return mapValue(pages, pid, file, into) === undefined;
}

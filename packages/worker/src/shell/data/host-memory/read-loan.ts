import { LOAN_SEAL_BYTES, type LoanTerms } from '@farm/protocol';
import type PQueue from 'p-queue';

import type { PartialValue } from '../partial-value.ts';
import type { HostMemory } from './host-memory.ts';

/** Read at once, some 20 ms: more would hold a thread of libuv's pool, and who gave up, for longer. */
const PIECE_BYTES_MAX = 67_108_864;

/** Pieces are multiples of it: the size of a huge page. */
const PIECE_UNIT_BYTES = 2_097_152;

/** What {@link readLoan} reads, and with what. */
export interface LoanReading {
  readonly memory: HostMemory;
  /** Reads go through it; so many at once as it lets. */
  readonly reads: PQueue;
  readonly terms: LoanTerms;
  /** Aborts where nobody wants the value any more. */
  readonly signal: AbortSignal;
}

/**
 * Reads the rest of a value that is lent where it lies. What is found to be of that value counts as
 * arrived; when this returns nothing writes into it any more.
 *
 * @returns What went wrong; undefined where the value has arrived.
 */
export async function readLoan(
  into: PartialValue,
  reading: LoanReading,
): Promise<string | undefined> {
  const { memory, reads, terms, signal } = reading;
  const { totalBytes } = into;
  let next = into.arrivedBytes;
  const pieceBytes = pieceSize(totalBytes - next, reads.concurrency);
  /** Ends of pieces that are there, by their starts, while one before them is missing. */
  const ahead = new Map<number, number>();
  let problem = problemOfSeal(memory, terms);

  const readPiece = async (start: number, end: number): Promise<void> => {
    for (let at = start; at < end && problem === undefined;) {
      const piece = into.bytes.subarray(at, end);
      const count = await memory.read(terms.pid, terms.valueAddress + at, piece);
      if (count <= 0) problem ??= `the kernel refuses to read (error ${-count})`;
      at += Math.max(0, count);
    }
    problem ??= problemOfSeal(memory, terms);
    if (problem !== undefined) return;
    ahead.set(start, end);
    for (let reached = ahead.get(into.arrivedBytes); reached !== undefined;) {
      ahead.delete(into.arrivedBytes);
      into.arrivedBytes = reached;
      reached = ahead.get(reached);
    }
  };
  const readInTurn = async (): Promise<void> => {
    while (next < totalBytes) {
      if (problem !== undefined) return;
      const start = next;
      next = Math.min(start + pieceBytes, totalBytes);
      const end = next;
      await reads.add(async () => {
        if (signal.aborted) problem ??= 'nobody wants it any more';
        if (problem !== undefined) return;
        try {
          await readPiece(start, end);
        } catch (error) {
          problem ??= String(error);
        }
      });
    }
  };
  await Promise.all(Array.from({ length: reads.concurrency }, readInTurn));
  return problem;
}

/** So that all reads at once have something to do. */
function pieceSize(bytes: number, readers: number): number {
  const share = Math.ceil(bytes / readers / PIECE_UNIT_BYTES) * PIECE_UNIT_BYTES;
  return Math.min(share, PIECE_BYTES_MAX);
}

/**
 * Where seals are read to. Each new memory, however small, may cost milliseconds while there is a lot
 * of it: the engine collects garbage in between.
 */
const FOUND = new Uint8Array(new ArrayBuffer(LOAN_SEAL_BYTES));

/** Why what is read there is not to be trusted; undefined where it is. */
function problemOfSeal(memory: HostMemory, terms: LoanTerms): string | undefined {
  FOUND.fill(0);
  const count = memory.readNow(terms.pid, terms.sealAddress, FOUND);
  if (count < 0) return `the kernel refuses to read (error ${-count})`;
  if (Buffer.compare(FOUND, terms.seal) === 0) return undefined;
  return 'the seal is broken: the loan has ended, or it is another process';
}

import type { LoanedFile, LoanRequest, LoanTerms } from '@farm/protocol';
import { fstatSync } from 'node:fs';

import { fileOf } from '../../memory-files/value-files.ts';
import type { Store } from '../store.ts';
import type { OpenHostMemory } from './host-memory.ts';
import { Seals } from './seals.ts';

/** A value that somebody reads where it lies. */
export interface Loan {
  readonly terms: LoanTerms;
  /** From here on what was read is worth nothing. Idempotent. */
  end(): void;
}

/**
 * Lends values: a process on this host may read them in the memory of this one, for as long as a loan
 * lasts. What is lent stays where it is, whatever the store does with it.
 *
 * Each loan has a seal, random bytes in the memory of this process that are wiped before the value may
 * go. Who finds the seal whole after reading has read the value, of this process and no other.
 */
export class LoanDesk {
  readonly #open: OpenHostMemory;
  readonly #seals = new Seals();
  /** Processes that read, by loan. */
  readonly #readers = new Map<Loan, number>();

  constructor(openHostMemory: OpenHostMemory) {
    this.#open = openHostMemory;
  }

  /** Loans that have not ended. */
  get size(): number {
    return this.#readers.size;
  }

  /** Lends a value. Undefined where that cannot be done: it is not in memory, or not to be read. */
  lend(store: Store, { task, reader }: LoanRequest): Loan | undefined {
    const memory = this.#open();
    if (memory === undefined) return undefined;
    const lent = store.lend(task);
    if (lent === undefined) return undefined;
    const seal = this.#seals.make();
    const sealAddress = seal && memory.addressOf(seal.bytes);
    const valueAddress = memory.addressOf(lent.value);
    if (seal === undefined || sealAddress === undefined || valueAddress === undefined) {
      seal?.break();
      lent.giveBack();
      return undefined;
    }
    const loan: Loan = {
      terms: {
        pid: process.pid,
        sealAddress,
        valueAddress,
        seal: seal.bytes,
        file: loanedFile(lent.value),
      },
      end: () => {
        if (!this.#readers.delete(loan)) return;
        seal.break();
        lent.giveBack();
        memory.admit(new Set(this.#readers.values()));
      },
    };
    this.#readers.set(loan, reader);
    memory.admit(new Set(this.#readers.values()));
    return loan;
  }
}

function loanedFile({ buffer }: Uint8Array): LoanedFile | undefined {
  const descriptor = fileOf(buffer);
  if (descriptor === undefined) return undefined;
  const { dev, ino } = fstatSync(descriptor, { bigint: true });
  return { descriptor, device: dev, inode: ino };
}

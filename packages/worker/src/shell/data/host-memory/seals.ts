import { randomFillSync } from 'node:crypto';

import { LIMITS, LOAN_SEAL_BYTES } from '@farm/protocol';

/** Random bytes at an address of this process. */
export interface Seal {
  /** Where they lie. */
  readonly bytes: Uint8Array;
  /** Wipes them. Idempotent. */
  break(): void;
}

/**
 * Makes seals, all in one piece of memory: a new piece for each might cost milliseconds, for garbage
 * that the engine collects when there is a lot of memory already.
 */
export class Seals {
  readonly #memory = new Uint8Array(new ArrayBuffer(LIMITS.dataStreamsMax * LOAN_SEAL_BYTES));
  readonly #free = Array.from({ length: LIMITS.dataStreamsMax }, (_, index) => index);

  /** Undefined where all are in use. */
  make(): Seal | undefined {
    const index = this.#free.pop();
    if (index === undefined) return undefined;
    const from = index * LOAN_SEAL_BYTES;
    const bytes = this.#memory.subarray(from, from + LOAN_SEAL_BYTES);
    randomFillSync(bytes);
    let isWhole = true;
    return {
      bytes,
      break: () => {
        if (!isWhole) return;
        isWhole = false;
        bytes.fill(0);
        this.#free.push(index);
      },
    };
  }
}

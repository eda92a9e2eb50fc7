import type { FarmError } from '@farm/protocol';

import { DataStream, type DialStream } from './data-stream.ts';
import type { Borrower } from './host-memory/borrower.ts';
import type { PartialValue } from './partial-value.ts';

/** Connections kept to each holder while nothing comes over them. */
const IDLE_MAX = 2;

/** The bare connections to holders: one for each value on its way, used again for the next. */
export class StreamPool {
  readonly #dial: DialStream;
  readonly #borrower: Borrower;
  readonly #idle = new Map<string, DataStream[]>();
  readonly #busy = new Set<DataStream>();
  #closed: FarmError | undefined;

  /** @param borrower - Asked first, where what comes is not checked by checksums. */
  constructor(dial: DialStream, borrower: Borrower) {
    this.#dial = dial;
    this.#borrower = borrower;
  }

  /**
   * Brings the rest of a value over from one holder.
   *
   * @throws FarmError see `DataStream.fetch`; what has arrived stays in `into`.
   */
  async fetch(address: string, task: number, into: PartialValue, checks: boolean): Promise<void> {
    const stream = this.#takeIdle(address) ?? (await DataStream.open(address, this.#dial));
    if (this.#closed !== undefined) {
      stream.close();
      throw this.#closed;
    }
    this.#busy.add(stream);
    try {
      if (!checks && (await this.#borrower.fetch(stream, task, into))) return;
      await stream.fetch(task, into, checks);
    } finally {
      this.#busy.delete(stream);
      this.#giveBack(address, stream);
    }
  }

  /** Ends all connections; what is on its way fails. Idempotent. */
  close(why: FarmError): void {
    this.#closed ??= why;
    for (const stream of [...this.#busy, ...[...this.#idle.values()].flat()]) stream.close();
    this.#idle.clear();
  }

  #takeIdle(address: string): DataStream | undefined {
    const idle = this.#idle.get(address) ?? [];
    for (let stream = idle.pop(); stream !== undefined; stream = idle.pop()) {
      if (stream.isOpen) return stream;
    }
    this.#idle.delete(address);
    return undefined;
  }

  #giveBack(address: string, stream: DataStream): void {
    if (!stream.isOpen) return;
    const idle = this.#idle.get(address) ?? [];
    if (this.#closed !== undefined || idle.length >= IDLE_MAX) {
      stream.close();
      return;
    }
    idle.push(stream);
    this.#idle.set(address, idle);
  }
}

import { failure, getData } from '@farm/protocol';
import type { BulkFrame, Failure, GetData } from '@farm/protocol';

import type { Asker, RelayData } from '../core/index.ts';

/** A request passed on to a worker, whose answer is awaited. */
interface Relay {
  readonly asker: Asker;
  readonly worker: string;
}

/**
 * Bookkeeping of bytes that pass through the scheduler: which answer of which worker belongs to
 * whose request. The bytes themselves are never looked at.
 */
export class DataRelay {
  readonly #open = new Map<number, Relay>();
  #next = 1;

  /** Registers a relay and returns the request for the worker. */
  begin(instruction: RelayData): GetData {
    const request = this.#next;
    this.#next = request === 0xffff_ffff ? 1 : request + 1;
    this.#open.set(request, { asker: instruction.asker, worker: instruction.worker });
    return getData(request, instruction.task, instruction.offset, instruction.length);
  }

  /** Who gets this answer of a worker; undefined where nobody waits for it any more. */
  end(worker: string, request: number): Asker | undefined {
    const relay = this.#open.get(request);
    if (relay === undefined || relay.worker !== worker) return undefined;
    this.#open.delete(request);
    return relay.asker;
  }

  /** A worker is gone: its open relays, with the failure for each asker. */
  workerGone(worker: string): readonly { readonly asker: Asker; readonly why: Failure }[] {
    const lost: { readonly asker: Asker; readonly why: Failure }[] = [];
    for (const [request, relay] of this.#open) {
      if (relay.worker !== worker) continue;
      this.#open.delete(request);
      const message = 'the worker that held the result is gone';
      lost.push({ asker: relay.asker, why: failure('ERR_LOST_DATA', message, '', null, null) });
    }
    return lost;
  }

  /** An asker is gone: nobody waits for its answers. */
  askerGone(role: Asker['role'], session: string): void {
    for (const [request, relay] of this.#open) {
      if (relay.asker.role === role && relay.asker.session === session) this.#open.delete(request);
    }
  }
}

/** A chunk under the asker's own request number. */
export function readdress(frame: BulkFrame, request: number): BulkFrame {
  return { request, totalBytes: frame.totalBytes, offset: frame.offset, bytes: frame.bytes };
}

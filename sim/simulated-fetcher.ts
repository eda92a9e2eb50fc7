import { getData } from '@farm/protocol';
import type { BulkFrame } from '@farm/protocol';

import type { Clock } from './clock.ts';
import type { SimulatedProcess } from './process.ts';
import type { Wire, WireEnd } from './wire.ts';

/** A peer that could not be reached is not dialled again for this long, as in a real worker. */
const UNREACHABLE_MS = 30_000;

/** Where a part of a value is asked for; the answer comes by request number. */
interface Questions {
  ask(request: number, task: number, offset: number, length: number): void;
  /** What each open question waits for. */
  readonly open: Map<number, (frame: BulkFrame | null) => void>;
}

interface PeerLink extends Questions {
  readonly waiting: ((isOpen: boolean) => void)[];
  state: 'dialling' | 'open' | 'gone';
  end: WireEnd | undefined;
}

/** Options of {@link SimulatedFetcher}. */
export interface FetcherOptions {
  readonly clock: Clock;
  readonly process: SimulatedProcess;
  readonly wire: Wire;
  readonly chunkBytes: number;
  /** Opens a connection to a peer. */
  readonly dial: (address: string, answer: { opened(end: WireEnd): void; failed(): void }) => void;
  /** Asks the scheduler. */
  readonly askRelay: (request: number, task: number, offset: number, length: number) => void;
}

/**
 * Brings inputs from other workers as a real worker does: from each holder in turn, then through
 * the scheduler; in chunks; over connections that are kept.
 */
export class SimulatedFetcher {
  readonly #options: FetcherOptions;
  readonly #links = new Map<string, PeerLink>();
  readonly #unreachable = new Map<string, number>();
  readonly #relay: Questions;
  #nextRequest = 1;
  #isClosed = false;

  constructor(options: FetcherOptions) {
    this.#options = options;
    this.#relay = { ask: options.askRelay, open: new Map() };
  }

  /** Brings one value; `done` gets null where nobody has it. */
  fetch(
    task: number,
    sizeBytes: number,
    holders: readonly string[],
    done: (value: Uint8Array | null) => void,
  ): void {
    const finish = (value: Uint8Array | null): void => {
      if (!this.#isClosed) done(value);
    };
    const from = (at: number): void => {
      const holder = holders[at];
      if (holder === undefined) {
        this.#chunks(this.#relay, task, sizeBytes, finish);
        return;
      }
      this.#withLink(holder, (link) => {
        if (link === null) from(at + 1);
        else {
          this.#chunks(link, task, sizeBytes, (value) => {
            if (value === null) from(at + 1);
            else finish(value);
          });
        }
      });
    };
    from(0);
  }

  /** An answer that came through the scheduler; null where there is none to be had. */
  relayed(request: number, frame: BulkFrame | null): void {
    answer(this.#relay, request, frame);
  }

  /** Ends all connections; nothing is told any more. */
  close(): void {
    this.#isClosed = true;
    for (const { end } of this.#links.values()) end?.terminate('the worker closes');
    this.#links.clear();
  }

  #withLink(address: string, then: (link: PeerLink | null) => void): void {
    if (this.#isClosed) return;
    const { clock } = this.#options;
    if (clock.nowMs < (this.#unreachable.get(address) ?? 0)) {
      then(null);
      return;
    }
    const link = this.#links.get(address) ?? this.#open(address);
    if (link.state === 'open') then(link);
    else link.waiting.push((isOpen) => then(isOpen ? link : null));
  }

  #open(address: string): PeerLink {
    const { wire, clock, dial } = this.#options;
    const link: PeerLink = {
      state: 'dialling',
      waiting: [],
      end: undefined,
      open: new Map(),
      ask: (request, task, offset, length) => {
        wire.send(link.end, 'peer', getData(request, task, offset, length));
      },
    };
    this.#links.set(address, link);
    const gone = (): void => {
      link.state = 'gone';
      if (this.#links.get(address) === link) this.#links.delete(address);
      for (const waiting of link.waiting.splice(0)) waiting(false);
      for (const request of [...link.open.keys()]) answer(link, request, null);
    };
    dial(address, {
      opened: (end) => {
        if (this.#isClosed) {
          end.terminate('the worker closes');
          return;
        }
        link.end = end;
        link.state = 'open';
        end.listen({
          heard: (payload) => {
            if (payload.kind === 'bulk') answer(link, payload.frame.request, payload.frame);
            else if (payload.message.op === 'data-failed')
              answer(link, payload.message.request, null);
          },
          closed: gone,
        });
        if (!end.isClosed) for (const waiting of link.waiting.splice(0)) waiting(true);
      },
      failed: () => {
        this.#unreachable.set(address, clock.nowMs + UNREACHABLE_MS);
        gone();
      },
    });
    return link;
  }

  #chunks(
    from: Questions,
    task: number,
    sizeBytes: number,
    done: (value: Uint8Array | null) => void,
  ): void {
    const value = new Uint8Array(sizeBytes);
    let missing = sizeBytes;
    const requests: number[] = [];
    const finish = (result: Uint8Array | null): void => {
      for (const request of requests) from.open.delete(request);
      done(result);
    };
    const { chunkBytes } = this.#options;
    for (let offset = 0; offset < sizeBytes; offset += chunkBytes) {
      const length = Math.min(chunkBytes, sizeBytes - offset);
      const request = this.#nextRequest++;
      requests.push(request);
      from.open.set(request, (frame) => {
        const isRight =
          frame !== null &&
          frame.totalBytes === sizeBytes &&
          frame.offset === offset &&
          frame.bytes.byteLength === length;
        if (!isRight) {
          finish(null);
          return;
        }
        value.set(frame.bytes, offset);
        missing -= length;
        if (missing === 0) finish(value);
      });
    }
    for (const [index, request] of requests.entries()) {
      const offset = index * chunkBytes;
      from.ask(request, task, offset, Math.min(chunkBytes, sizeBytes - offset));
    }
  }
}

function answer({ open }: Questions, request: number, frame: BulkFrame | null): void {
  const waiting = open.get(request);
  open.delete(request);
  waiting?.(frame);
}

import {
  FarmError,
  getData,
  type Connection,
  type GetData,
  type PeerMessage,
} from '@farm/protocol';
import PQueue from 'p-queue';

import { BulkRequests } from './bulk-requests.ts';
import { fetchChunks } from './fetch-chunks.ts';

/** A peer that could not be reached is not dialled again for this long. */
const UNREACHABLE_MS = 30_000;

/** Options of {@link InputFetcher}. */
export interface InputFetcherOptions {
  /** Opens a connection to a peer's data port. */
  readonly dialPeer: (address: string) => Promise<Connection<PeerMessage, PeerMessage>>;
  /** Asks the scheduler to relay bytes; `relayed` gets the answers. */
  readonly askRelay: (request: GetData) => void;
  /**
   * Inputs brought over at once.
   * @default 50 (Dask's `connections.outgoing`)
   */
  readonly fetchesMax?: number;
  /** Milliseconds; any origin. @default performance.now */
  readonly now?: () => number;
}

/** An open connection to a peer, with the questions that are open on it. */
interface PeerLink {
  readonly connection: Connection<PeerMessage, PeerMessage>;
  readonly requests: BulkRequests;
}

/**
 * Brings inputs from other workers: from each holder in turn, then relayed by the scheduler.
 * Connections to peers are opened when first needed, shared, and kept.
 */
export class InputFetcher {
  /** Answers to `get-relayed` go here: bulk frames of the scheduler, and `data-failed`. */
  readonly relayed: BulkRequests = new BulkRequests();
  readonly #options: InputFetcherOptions;
  readonly #queue: PQueue;
  readonly #now: () => number;
  readonly #links = new Map<string, Promise<PeerLink>>();
  readonly #unreachable = new Map<string, { readonly untilMs: number; readonly why: unknown }>();
  #closed: FarmError | undefined;

  constructor(options: InputFetcherOptions) {
    const { fetchesMax = 50, now = () => performance.now() } = options;
    this.#options = options;
    this.#now = now;
    this.#queue = new PQueue({ concurrency: fetchesMax });
  }

  /**
   * Brings one value over.
   *
   * @throws FarmError `ERR_LOST_DATA` where nobody has it; the message says what each answered.
   */
  async fetch(task: number, sizeBytes: number, holders: readonly string[]): Promise<Uint8Array> {
    return this.#queue.add(() => this.#fetchNow(task, sizeBytes, holders));
  }

  /** Ends all connections; what is on its way fails with `ERR_CLOSED`. Idempotent. */
  async close(): Promise<void> {
    this.#closed ??= new FarmError('ERR_CLOSED', 'the worker is closing');
    this.#queue.clear();
    this.relayed.close(this.#closed);
    const links = [...this.#links.values()];
    this.#links.clear();
    await Promise.all(
      links.map(async (link) => {
        try {
          const { connection } = await link;
          connection.terminate();
        } catch {
          // A peer that was never reached needs no goodbye.
        }
      }),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #fetchNow(
    task: number,
    sizeBytes: number,
    holders: readonly string[],
  ): Promise<Uint8Array> {
    const problems: string[] = [];
    for (const holder of holders) {
      if (this.#closed !== undefined) throw this.#closed;
      try {
        return await this.#fetchFrom(holder, task, sizeBytes);
      } catch (error) {
        problems.push(`${holder}: ${messageOf(error)}`);
      }
    }
    if (this.#closed !== undefined) throw this.#closed;
    try {
      const { askRelay } = this.#options;
      return await fetchChunks(sizeBytes, (offset, length) =>
        this.relayed.ask((request) => askRelay(getData(request, task, offset, length))),
      );
    } catch (error) {
      problems.push(`relayed: ${messageOf(error)}`);
      throw new FarmError('ERR_LOST_DATA', `task ${task}: ${problems.join('; ')}`, {
        cause: error,
      });
    }
  }

  async #fetchFrom(address: string, task: number, sizeBytes: number): Promise<Uint8Array> {
    const { connection, requests } = await this.#link(address);
    return fetchChunks(sizeBytes, (offset, length) =>
      requests.ask((request) => connection.send(getData(request, task, offset, length))),
    );
  }

  async #link(address: string): Promise<PeerLink> {
    const unreachable = this.#unreachable.get(address);
    if (unreachable !== undefined) {
      if (this.#now() < unreachable.untilMs) throw unreachable.why;
      this.#unreachable.delete(address);
    }
    const link = this.#links.get(address) ?? this.#open(address);
    return link;
  }

  #open(address: string): Promise<PeerLink> {
    const link = this.#dial(address);
    this.#links.set(address, link);
    // Whoever awaits the link hears of the failure; here it only must not be used again.
    link.catch((why: unknown) => {
      this.#forget(address, link);
      this.#unreachable.set(address, { untilMs: this.#now() + UNREACHABLE_MS, why });
    });
    return link;
  }

  async #dial(address: string): Promise<PeerLink> {
    const connection = await this.#options.dialPeer(address);
    if (this.#closed !== undefined) {
      connection.terminate();
      throw this.#closed;
    }
    const requests = new BulkRequests();
    connection.listen({
      messages: (batch) => {
        for (const message of batch) {
          if (message.op === 'data-failed') requests.fail(message.request, message.failure);
          // Who dialled asks, and who was dialled answers.
          else connection.terminate();
        }
      },
      bulk: (frame) => requests.answer(frame),
      closed: (why) => {
        this.#forgetConnection(address, connection);
        requests.close(why);
      },
    });
    return { connection, requests };
  }

  #forget(address: string, link: Promise<PeerLink>): void {
    if (this.#links.get(address) === link) this.#links.delete(address);
  }

  #forgetConnection(address: string, connection: Connection<PeerMessage, PeerMessage>): void {
    const link = this.#links.get(address);
    void link?.then((current) => {
      if (current.connection === connection) this.#forget(address, link);
    });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

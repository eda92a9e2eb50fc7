import {
  FarmError,
  getData,
  LIMITS,
  type Connection,
  type GetData,
  type PeerMessage,
} from '@farm/protocol';
import PQueue from 'p-queue';

import { BulkRequests } from './bulk-requests.ts';
import { ByteBudget } from './byte-budget.ts';
import { DamagedBytes, type DialStream } from './data-stream.ts';
import { fetchChunks } from './fetch-chunks.ts';
import { Borrower } from './host-memory/borrower.ts';
import type { OpenHostMemory } from './host-memory/host-memory.ts';
import { MemoryAhead } from './memory-ahead.ts';
import { PartialValue } from './partial-value.ts';
import { StreamPool } from './stream-pool.ts';

/** A peer that could not be reached is not dialled again for this long. */
const UNREACHABLE_MS = 30_000;

/** Bytes that the scheduler is asked to relay at once: it is everybody's, and keeps them in memory. */
const RELAYED_BYTES_MAX = 67_108_864;

/** Options of {@link InputFetcher}. */
export interface InputFetcherOptions {
  /** This worker's name, for errors. */
  readonly name: string;
  /** Opens a connection to a peer's data port. */
  readonly dialPeer: (address: string) => Promise<Connection<PeerMessage, PeerMessage>>;
  /** Opens a bare connection to a peer, for values of more than one chunk. */
  readonly dialStream: DialStream;
  /** How values of holders on this host are read where they lie. @default they are not */
  readonly openHostMemory?: OpenHostMemory | undefined;
  /** Told why one that could have been was not. @default nobody is */
  readonly notRead?: (why: string) => void;
  /** Whether what comes from a holder is checked by checksums: where it crosses a network. */
  readonly needsChecks: (address: string) => boolean;
  /** Asks the scheduler to relay bytes; `relayed` gets the answers. */
  readonly askRelay: (request: GetData) => void;
  /**
   * Inputs brought over at once.
   * @default 50 (Dask's `connections.outgoing`)
   */
  readonly fetchesMax?: number;
  /**
   * Bytes of values of more than one chunk that come over at once; one of them always does.
   * @default LIMITS.fetchBytesMax
   */
  readonly fetchBytesMax?: number;
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
 * Connections to peers are opened when first needed, shared, and kept. Small values go before large
 * ones, which come as streams, or are read in the memory of a holder on this host; where one breaks off, the next holder goes on with the rest: holders
 * that are named together hold copies of one result.
 */
export class InputFetcher {
  /** Answers to `get-relayed` go here: bulk frames of the scheduler, and `data-failed`. */
  readonly relayed: BulkRequests = new BulkRequests();
  readonly #options: InputFetcherOptions;
  readonly #queue: PQueue;
  readonly #budget: ByteBudget;
  readonly #relayBudget = new ByteBudget(RELAYED_BYTES_MAX);
  readonly #streams: StreamPool;
  readonly #memory = new MemoryAhead();
  readonly #now: () => number;
  readonly #links = new Map<string, Promise<PeerLink>>();
  readonly #unreachable = new Map<string, { readonly untilMs: number; readonly why: unknown }>();
  #closed: FarmError | undefined;

  constructor(options: InputFetcherOptions) {
    const { fetchesMax = 50, fetchBytesMax = LIMITS.fetchBytesMax } = options;
    const { dialStream, now = () => performance.now() } = options;
    const { openHostMemory = () => undefined, notRead = () => {} } = options;
    this.#options = options;
    this.#now = now;
    this.#queue = new PQueue({ concurrency: fetchesMax });
    this.#budget = new ByteBudget(fetchBytesMax);
    const borrower = new Borrower({ openHostMemory, refused: notRead });
    this.#streams = new StreamPool(dialStream, borrower);
  }

  /**
   * Brings one value over.
   *
   * @param isShared - Whether to memory that threads can share.
   * @throws FarmError `ERR_LOST_DATA` where nobody has it; the message says what each answered.
   */
  async fetch(
    task: number,
    sizeBytes: number,
    holders: readonly string[],
    isShared: boolean = false,
  ): Promise<Uint8Array> {
    const fetchNow = (): Promise<Uint8Array> => {
      return this.#fetchNow(
        task,
        new PartialValue(sizeBytes, isShared ? 'shared' : this.#memory),
        holders,
      );
    };
    if (!isLarge(sizeBytes)) return this.#queue.add(fetchNow, { priority: 1 });
    return this.#budget.spend(sizeBytes, () => this.#queue.add(fetchNow, { priority: 0 }));
  }

  /** Ends all connections; what is on its way fails with `ERR_CLOSED`. Idempotent. */
  async close(): Promise<void> {
    this.#closed ??= new FarmError('ERR_CLOSED', 'the worker is closing');
    this.#queue.clear();
    this.#streams.close(this.#closed);
    this.#memory.close();
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
    value: PartialValue,
    holders: readonly string[],
  ): Promise<Uint8Array> {
    this.#throwIfClosed();
    const problems: string[] = [];
    for (const holder of holders) {
      try {
        await this.#fetchFrom(holder, task, value);
        return value.bytes;
      } catch (error) {
        problems.push(`${holder} to ${this.#options.name}: ${messageOf(error)}`);
      }
      this.#throwIfClosed();
    }
    try {
      await this.#relay(task, value);
      return value.bytes;
    } catch (error) {
      problems.push(`relayed: ${messageOf(error)}`);
      throw new FarmError('ERR_LOST_DATA', `task ${task}: ${problems.join('; ')}`, {
        cause: error,
      });
    }
  }

  #throwIfClosed(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  async #relay(task: number, { bytes, totalBytes, arrivedBytes }: PartialValue): Promise<void> {
    const { askRelay } = this.#options;
    const aheadBytes = LIMITS.bulkChunksInFlightMax * LIMITS.bulkChunkBytes;
    await this.#relayBudget.spend(Math.min(totalBytes - arrivedBytes, aheadBytes), () =>
      fetchChunks(bytes, arrivedBytes, (offset, length) =>
        this.relayed.ask((request) => askRelay(getData(request, task, offset, length))),
      ),
    );
  }

  async #fetchFrom(address: string, task: number, value: PartialValue): Promise<void> {
    if (isLarge(value.totalBytes)) {
      await this.#stream(address, task, value);
      return;
    }
    const { connection, requests } = await this.#link(address);
    await fetchChunks(value.bytes, 0, (offset, length) =>
      requests.ask((request) => connection.send(getData(request, task, offset, length))),
    );
  }

  async #stream(address: string, task: number, value: PartialValue): Promise<void> {
    this.#throwIfUnreachable(address);
    const checks = this.#options.needsChecks(address);
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#streams.fetch(address, task, value, checks);
        return;
      } catch (error) {
        const code = error instanceof FarmError ? error.code : undefined;
        if (code === 'ERR_CONNECT') this.#unreachableNow(address, error);
        // A connection that was kept may have been closed by the other side meanwhile; and what
        // arrived damaged may arrive well the next time.
        const mayHelp = code === 'ERR_CONNECTION_LOST' || error instanceof DamagedBytes;
        if (!mayHelp || attempt === 2 || this.#closed !== undefined) throw error;
      }
    }
  }

  async #link(address: string): Promise<PeerLink> {
    this.#throwIfUnreachable(address);
    const link = this.#links.get(address) ?? this.#open(address);
    return link;
  }

  #open(address: string): Promise<PeerLink> {
    const link = this.#dial(address);
    this.#links.set(address, link);
    // Whoever awaits the link hears of the failure; here it only must not be used again.
    link.catch((why: unknown) => {
      this.#forget(address, link);
      this.#unreachableNow(address, why);
    });
    return link;
  }

  #unreachableNow(address: string, why: unknown): void {
    this.#unreachable.set(address, { untilMs: this.#now() + UNREACHABLE_MS, why });
  }

  #throwIfUnreachable(address: string): void {
    const unreachable = this.#unreachable.get(address);
    if (unreachable === undefined) return;
    if (this.#now() < unreachable.untilMs) throw unreachable.why;
    this.#unreachable.delete(address);
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

/** Whether a value comes as a stream, rather than in one chunk between messages. */
function isLarge(sizeBytes: number): boolean {
  return sizeBytes > LIMITS.bulkChunkBytes;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

import {
  type BulkFrame,
  type ClientBoundMessage,
  type ClientMessage,
  type Connection,
  FarmError,
  type Questions,
  type Scatter,
  type SchedulerInfo,
  type TaskOptions,
  cancel,
  clientHeartbeat,
  closeClient,
  defineFunction,
  failure,
  release,
  retry,
  scatter,
  shutdown,
  submit,
} from '@farm/protocol';

import { failureFrom } from './failures.ts';
import type { PreparedFunction } from './functions/prepare.ts';
import { FutureTable } from './future-table.ts';
import { Outbox } from './outbox.ts';
import { PendingQuestions } from './questions.ts';
import { ResultFetcher } from './result-fetch.ts';
import { currentTaskKey } from './task-parent.ts';
import { StallWatch } from './stall-watch.ts';

/** The connection of a client, as it hears and speaks. */
export type ClientConnection = Connection<ClientBoundMessage, ClientMessage>;

/** A connection that stands. */
export interface Connected {
  readonly connection: ClientConnection;
  /** The scheduler's address, for humans. */
  readonly address: string;
  /** How often to say that this client is alive. */
  readonly heartbeatMs: number;
  /**
   * Brings the connection back after its socket was lost; where that fails, the connection ends.
   * @default a lost socket is the end
   */
  readonly reconnect?: (signal: AbortSignal) => Promise<void>;
}

/** Tasks that are sent in one message: as `Submit`, before they have ids. */
export interface EncodedBlock {
  readonly count: number;
  readonly args: Uint8Array;
  readonly argEndsColumn: Uint8Array;
  readonly depsColumn: Uint8Array | null;
  readonly depEndsColumn: Uint8Array | null;
}

/** How the tasks of a submit are called and run. */
export interface BlockNames {
  readonly key: string;
  /** As in `Submit`: null for a single task. */
  readonly indexFrom: number | null;
  readonly options: TaskOptions;
}

/** Futures to release when who had them is garbage. */
interface Forgotten {
  readonly session: Session;
  readonly first: number;
  readonly count: number;
}

/** What a session tells its client. */
export interface SessionHandlers {
  connected(info: SchedulerInfo): void;
  /** The connection lost its socket; `reconnected` or `ended` follows. */
  disconnected(why: FarmError): void;
  /** It goes on. */
  reconnected(): void;
  /** Once, last. The error says why, also where the user asked for it. */
  ended(why: FarmError): void;
}

/**
 * The life of one client towards its scheduler: connecting, connected, ended. Operations may begin
 * at once; what they send waits for the connection, also while it has lost its socket and the
 * scheduler waits for it to come back. Once ended, for whatever reason, everything
 * that waits is rejected with that reason, and so is everything that begins later.
 */
export class Session {
  /**
   * One for all, as long as the process lives. Where a registry is garbage itself while it has something
   * to tell, V8 before Node 26 tells nothing any more, of no registry of the process.
   */
  static readonly #forgotten = new FinalizationRegistry<Forgotten>(({ session, first, count }) => {
    session.release(first, count);
  });
  /** The futures of this client. */
  readonly table: FutureTable = new FutureTable();
  /** Gets results that did not come with their report. */
  readonly fetcher: ResultFetcher;
  readonly #questions: PendingQuestions;
  readonly #outbox = new Outbox();
  readonly #handlers: SessionHandlers;
  readonly #connecting = new AbortController();
  readonly #ready: Promise<SchedulerInfo>;
  readonly #gone = Promise.withResolvers<void>();
  readonly #defined = new Set<string>();
  readonly #stall = new StallWatch({
    ask: () => this.#questions.ask('scheduler-info', null),
    say: (line) => process.stderr.write(`${line}\n`),
  });
  #connected: Connected | undefined;
  #heartbeat: NodeJS.Timeout | undefined;
  #ended: FarmError | undefined;
  /** Why the scheduler says it ends this connection. */
  #goodbye: string | undefined;
  #isReleaseDue = false;
  /** Operations of the user that are under way: while there is one, the process stays alive. */
  #holds = 0;

  /** @param connect - Makes the connection; ends with the signal's reason when that aborts. */
  constructor(connect: (signal: AbortSignal) => Promise<Connected>, handlers: SessionHandlers) {
    this.#handlers = handlers;
    const send = (message: ClientMessage): void => this.#send(message);
    this.#questions = new PendingQuestions(send);
    this.fetcher = new ResultFetcher(send);
    this.#ready = this.#connect(connect);
    // Whoever waits for it gets the error; if nobody does, it is not unhandled.
    this.#ready.catch(() => {});
  }

  /** The scheduler's address once connected. */
  get address(): string | undefined {
    return this.#connected?.address;
  }

  /** Why the session has ended; undefined while it has not. */
  get ended(): FarmError | undefined {
    return this.#ended;
  }

  /** Resolves once connected, with what the scheduler said of itself then. */
  async ready(): Promise<SchedulerInfo> {
    using _ = this.hold();
    return await this.#ready;
  }

  /** Keeps the process alive until what is returned is disposed. */
  hold(): Disposable {
    this.#holds += 1;
    if (this.#holds === 1) this.#connected?.connection.ref?.();
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        this.#holds -= 1;
        if (this.#holds > 0) return;
        this.#stall.reset();
        this.#connected?.connection.unref?.();
      },
    };
  }

  /** @throws FarmError why the session has ended, where it has. */
  assertOpen(): void {
    if (this.#ended !== undefined) {
      throw new FarmError(this.#ended.code, this.#ended.message, { cause: this.#ended });
    }
  }

  /** Asks the scheduler something. */
  async ask<M extends keyof Questions>(
    method: M,
    params: Questions[M]['params'],
  ): Promise<Questions[M]['answer']> {
    this.assertOpen();
    using _ = this.hold();
    return await this.#questions.ask(method, params);
  }

  /** Sends blocks of tasks that follow each other. Returns the id of the first. */
  submit(fn: PreparedFunction, blocks: readonly EncodedBlock[], names: BlockNames): number {
    this.assertOpen();
    if (!this.#defined.has(fn.hash)) {
      this.#defined.add(fn.hash);
      this.#send(defineFunction(fn.hash, fn.name, fn.spec));
    }
    const total = blocks.reduce((sum, block) => sum + block.count, 0);
    const first = this.table.allocate(total);
    const parent = currentTaskKey();
    let at = 0;
    for (const block of blocks) {
      const { count, args, argEndsColumn, depsColumn, depEndsColumn } = block;
      const indexFrom = names.indexFrom === null ? null : names.indexFrom + at;
      const { key, options } = names;
      const columns = { args, argEndsColumn, depsColumn, depEndsColumn };
      const head = { first: first + at, count, key, indexFrom, fn: fn.hash };
      this.#send(submit({ ...head, ...columns, options, parent }));
      at += count;
    }
    return first;
  }

  /** Hands values over. Returns the id of the first. */
  scatter(fields: Omit<Scatter, 'op' | 'first'>): number {
    this.assertOpen();
    const first = this.table.allocate(fields.count);
    this.#send(scatter({ ...fields, first }));
    return first;
  }

  /** Releases `count` futures from `first` on when `owner` is garbage, as far as nobody did. */
  releaseWith(owner: object, first: number, count: number): void {
    Session.#forgotten.register(owner, { session: this, first, count });
  }

  /** Lets go of futures. The scheduler is told once per tick. */
  release(first: number, count: number): void {
    this.table.release(first, count);
    if (this.#isReleaseDue || this.#ended !== undefined) return;
    this.#isReleaseDue = true;
    queueMicrotask(() => {
      this.#isReleaseDue = false;
      this.#sendReleases();
    });
  }

  /** Cancels a task, if it has not ended. */
  cancel(id: number, reason: string): void {
    if (!this.table.isPending(id) || this.#ended !== undefined) return;
    this.#send(cancel([id, 1], reason));
    this.table.setCancelled([id], cancelledBecause(reason));
  }

  /** Runs a failed task again. */
  retry(id: number): void {
    this.assertOpen();
    if (this.table.status(id) !== 'error') return;
    this.#send(retry([id]));
    this.table.setPending([id]);
  }

  /** Ends the whole cluster; resolves when the connection has ended with it. */
  async shutdown(reason: string): Promise<void> {
    using _ = this.hold();
    await this.#ready;
    this.assertOpen();
    this.#send(shutdown(reason));
    this.#goodbye = reason;
    await this.#gone.promise;
  }

  /** Leaves the cluster as it is. Idempotent. */
  async close(): Promise<void> {
    const why = new FarmError('ERR_CLOSED', 'the client is closed');
    const connection = this.#connected?.connection;
    if (this.#ended === undefined) {
      connection?.send(closeClient());
      this.#end(why);
    }
    await connection?.close();
  }

  /** Sends a message behind the releases that came before it. */
  #send(message: ClientMessage): void {
    this.#sendReleases();
    this.#outbox.send(message);
  }

  #sendReleases(): void {
    if (this.#ended !== undefined) return;
    const ranges = this.table.takeReleased();
    if (ranges.length > 0) this.#outbox.send(release(ranges));
  }

  async #connect(connect: (signal: AbortSignal) => Promise<Connected>): Promise<SchedulerInfo> {
    try {
      const connected = await connect(this.#connecting.signal);
      if (this.#ended !== undefined) {
        connected.connection.terminate();
        throw this.#ended;
      }
      this.#attach(connected);
      const info = await this.#questions.ask('scheduler-info', null);
      this.#handlers.connected(info);
      return info;
    } catch (error) {
      const why =
        error instanceof FarmError
          ? error
          : new FarmError('ERR_CONNECT', 'the client could not connect', { cause: error });
      this.#end(why);
      throw this.#ended ?? why;
    }
  }

  #attach(connected: Connected): void {
    this.#connected = connected;
    const { connection, heartbeatMs, reconnect } = connected;
    connection.listen({
      messages: (batch) => {
        for (const message of batch) this.#handle(message);
      },
      bulk: (frame: BulkFrame) => this.fetcher.bulk(frame),
      closed: (why) => this.#lost(why),
      ...(reconnect === undefined
        ? {}
        : {
            detached: (why) => {
              // First, since a listener may throw.
              void reconnect(this.#connecting.signal);
              this.#handlers.disconnected(why);
            },
            attached: () => this.#handlers.reconnected(),
          }),
    });
    if (this.#holds === 0) connection.unref?.();
    this.#heartbeat = setInterval(() => {
      connection.send(clientHeartbeat());
      if (this.#holds > 0) void this.#stall.beat(performance.now());
    }, heartbeatMs);
    this.#heartbeat.unref();
    this.#outbox.attach(connection);
  }

  #handle(message: ClientBoundMessage): void {
    switch (message.op) {
      case 'accepted':
        return;
      case 'results':
        this.#stall.reset();
        this.table.setResults(message);
        return;
      case 'failed':
        this.table.setFailed(message.ids, message.failure);
        return;
      case 'cancelled':
        this.table.setCancelled(message.ids, cancelledBecause(message.reason));
        return;
      case 'recomputing':
        this.table.setPending(message.ids);
        return;
      case 'reply':
        this.#questions.reply(message);
        return;
      case 'data-failed':
        this.fetcher.failed(message);
        return;
      case 'topic-event':
        // Comes to subscribers only, which a client cannot be yet.
        return;
      case 'goodbye':
        this.#goodbye = message.reason;
        return;
    }
  }

  #lost(why: FarmError): void {
    const scheduler = `the scheduler at ${this.#connected?.address ?? '?'}`;
    const message =
      this.#goodbye === undefined
        ? `the connection to ${scheduler} was lost: ${why.message}`
        : `${scheduler} ended the connection: ${this.#goodbye}`;
    this.#end(new FarmError('ERR_CONNECTION_LOST', message, { cause: why }));
    this.#gone.resolve();
  }

  #end(why: FarmError): void {
    if (this.#ended !== undefined) return;
    this.#ended = why;
    clearInterval(this.#heartbeat);
    this.#connecting.abort(why);
    this.#outbox.clear();
    this.#questions.rejectAll(why);
    this.fetcher.rejectAll(why);
    this.table.loseAll(failureFrom(why));
    if (this.#connected === undefined) this.#gone.resolve();
    this.#handlers.ended(why);
  }
}

function cancelledBecause(reason: string): ReturnType<typeof failure> {
  const because = reason === '' ? '' : `: ${reason}`;
  return failure('ERR_CANCELLED', `the task was cancelled${because}`, '', null, null);
}

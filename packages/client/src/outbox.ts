import type { ClientMessage, Connection } from '@farm/protocol';

/** Where messages go. */
type Sink = Pick<Connection<never, ClientMessage>, 'send' | 'bufferedBytes'>;

/** Bytes given to the connection ahead of the kernel; more waits here, since there is no limit. */
const AHEAD_BYTES_MAX = 33_554_432;
/** How often a full connection is looked at again. */
const POLL_MS = 5;

/**
 * Messages on their way out, in order: kept until there is a connection, and then handed over no
 * faster than it sends, so that a map of any size does not make this client a slow consumer.
 */
export class Outbox {
  #queue: ClientMessage[] = [];
  #sink: Sink | undefined;
  #timer: NodeJS.Timeout | undefined;
  readonly #onEmpty: (() => void)[] = [];

  /** Sends a message, now or when it can be. */
  send(message: ClientMessage): void {
    if (this.#sink !== undefined && this.#queue.length === 0 && !isFull(this.#sink)) {
      this.#sink.send(message);
      return;
    }
    this.#queue.push(message);
    if (this.#sink !== undefined) this.#pollLater();
  }

  /** Begins to send through a connection. */
  attach(sink: Sink): void {
    this.#sink = sink;
    this.#pump();
  }

  /** Drops what was not sent. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sink = undefined;
    this.#queue = [];
    this.#emptied();
  }

  /** Resolves when everything was handed to the connection or dropped. */
  async flushed(): Promise<void> {
    if (this.#queue.length === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onEmpty.push(resolve);
    await promise;
  }

  #pump(): void {
    const sink = this.#sink;
    if (sink === undefined) return;
    let sent = 0;
    for (const message of this.#queue) {
      if (isFull(sink)) break;
      sink.send(message);
      sent += 1;
    }
    this.#queue = this.#queue.slice(sent);
    if (this.#queue.length > 0) this.#pollLater();
    else this.#emptied();
  }

  #pollLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#pump();
    }, POLL_MS);
  }

  #emptied(): void {
    for (const resolve of this.#onEmpty.splice(0)) resolve();
  }
}

function isFull(sink: Sink): boolean {
  return sink.bufferedBytes > AHEAD_BYTES_MAX;
}

import type { FarmError } from './core/index.ts';

/**
 * A chunk of one value's bytes, answering a `get-result`, `get-data` or `get-relayed` request.
 * Forwarded between connections without decoding.
 */
export interface BulkFrame {
  /** The asker's number of the request. */
  readonly request: number;
  /** Size of the whole value. */
  readonly totalBytes: number;
  /** Where this chunk starts in it. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** What a connection tells its owner. All are called from the event loop, never nested. */
export interface ConnectionHandlers<In> {
  /** A drained batch of messages, in order. */
  messages(batch: readonly In[]): void;
  /** A bulk frame. `frame.bytes` belongs to the receiver. */
  bulk(frame: BulkFrame): void;
  /** Exactly once, last. */
  closed(why: FarmError): void;
  /**
   * The socket is gone, though nobody meant to end the connection: what is sent now waits. Either
   * `attached` follows, and nothing was lost, or `closed`. Without this handler a lost socket is the
   * end.
   */
  detached?(why: FarmError): void;
  /** The connection has a socket again. */
  attached?(): void;
}

/**
 * An authenticated, ordered connection to one peer, past its handshake. `Out` is what this side
 * says, `In` what it hears.
 */
export interface Connection<In, Out> {
  /** The peer for humans, for example `worker w-1 at 10.0.0.7:41234`. */
  readonly peer: string;
  /** Starts delivery. Messages that arrived before are delivered then. */
  listen(handlers: ConnectionHandlers<In>): void;
  /** Queues a message; what is queued in one tick of the event loop leaves as one frame. */
  send(message: Out): void;
  /** Queues a bulk frame behind the messages sent before it. */
  sendBulk(frame: BulkFrame): void;
  /** Bytes accepted and not yet given to the kernel; without a socket, all the peer may lack. */
  readonly bufferedBytes: number;
  /** Sends what is queued, then closes. Idempotent; resolves when the socket is gone. */
  close(): Promise<void>;
  /** Closes at once; queued data is lost. */
  terminate(): void;
  /** Keeps the process alive while the connection is open: the default. As of a socket of Node. */
  ref?(): void;
  /** Lets the process end although the connection is open. */
  unref?(): void;
}

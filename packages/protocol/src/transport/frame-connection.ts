import type { BulkFrame, Connection, ConnectionHandlers } from '../connection.ts';
import { batchBytesMax, decodeBatch, encodeMessage, joinBatch } from '../codec/batch.ts';
import { BULK_HEADER_BYTES, decodeBulk, encodeBulkHeader, isBulk } from '../codec/bulk.ts';
import { checkMessage } from '../codec/check-message.ts';
import type { MessagesBySpeaker, Speaker } from '../codec/check-message.ts';
import { FarmError, LIMITS } from '../core/index.ts';
import type { Message } from '../core/index.ts';
import type { FramePort } from './frame-port.ts';

/** A batch leaves early once it has this many bytes, so that encoding and sending overlap. */
const BATCH_BYTES = 1_048_576;

/** Options of a {@link FrameConnection}. */
export interface FrameConnectionOptions<S extends Speaker> {
  /** The peer for humans. */
  readonly peer: string;
  /** Who the peer is: the messages it may send. */
  readonly speaker: S;
  /** @default LIMITS.sendBufferBytesMax */
  readonly sendBufferBytesMax?: number;
  /** @default LIMITS.frameBytesMax */
  readonly frameBytesMax?: number;
}

/**
 * A {@link Connection} over frames: batches messages, encodes, decodes and checks them, and holds
 * the limits. It knows no sockets; a {@link FramePort} carries its frames.
 *
 * Messages are encoded when they are sent, so an object may be changed afterwards, and one that is
 * too large is refused where it is sent. They leave together in the check phase of the event loop
 * (`setImmediate`), after all sockets that were ready have been read: one frame per tick and peer.
 *
 * After `close()`, `terminate()` or a failure nothing is delivered but `closed`, and what is sent
 * is dropped.
 */
export class FrameConnection<Out extends Message, S extends Speaker> implements Connection<
  MessagesBySpeaker[S],
  Out
> {
  readonly peer: string;
  readonly #port: FramePort;
  readonly #speaker: S;
  readonly #sendBufferBytesMax: number;
  readonly #frameBytesMax: number;
  readonly #gone = Promise.withResolvers<void>();
  readonly #flushSoon = (): void => this.#flush();
  #handlers: ConnectionHandlers<MessagesBySpeaker[S]> | undefined;
  /** Frames that arrived before they could be delivered. */
  readonly #inbox: (readonly Uint8Array[])[] = [];
  #isDelivering = false;
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;
  #isFlushDue = false;
  #state: 'open' | 'closing' | 'ended' = 'open';
  /** This side ended it: nothing is delivered any more but `closed`. */
  #isMuted = false;
  /** Why it ended: the first reason there was. */
  #why: FarmError | undefined;
  #isClosedTold = false;

  constructor(port: FramePort, options: FrameConnectionOptions<S>) {
    this.peer = options.peer;
    this.#port = port;
    this.#speaker = options.speaker;
    this.#sendBufferBytesMax = options.sendBufferBytesMax ?? LIMITS.sendBufferBytesMax;
    this.#frameBytesMax = options.frameBytesMax ?? LIMITS.frameBytesMax;
  }

  get bufferedBytes(): number {
    return this.#pendingBytes + this.#port.bufferedBytes;
  }

  listen(handlers: ConnectionHandlers<MessagesBySpeaker[S]>): void {
    if (this.#handlers !== undefined) {
      throw new FarmError('ERR_INTERNAL', `${this.peer} has its handlers already`);
    }
    this.#handlers = handlers;
    // Not from within this call: handlers are called from the event loop.
    setImmediate(() => {
      this.#isDelivering = true;
      for (const frame of this.#inbox.splice(0)) this.#deliver(frame);
      if (this.#state === 'ended') this.#tellClosed();
      else this.#port.resume();
    });
  }

  send(message: Out): void {
    if (this.#state !== 'open') return;
    const encoded = encoding(message);
    const size = batchBytesMax(encoded.byteLength);
    if (size > this.#frameBytesMax) {
      throw new FarmError(
        'ERR_LIMIT',
        `a message ${message.op} of ${size} bytes to ${this.peer} is larger than a frame may be, ` +
          `${this.#frameBytesMax} bytes`,
      );
    }
    if (this.#pendingBytes + size > Math.min(BATCH_BYTES, this.#frameBytesMax)) this.#flush();
    this.#pending.push(encoded);
    this.#pendingBytes += encoded.byteLength;
    if (this.#pendingBytes >= BATCH_BYTES) this.#flush();
    else if (!this.#isFlushDue) {
      this.#isFlushDue = true;
      setImmediate(this.#flushSoon);
    }
  }

  sendBulk(frame: BulkFrame): void {
    if (this.#state !== 'open') return;
    const size = BULK_HEADER_BYTES + frame.bytes.byteLength;
    if (size > this.#frameBytesMax) {
      throw new FarmError(
        'ERR_LIMIT',
        `a bulk frame of ${size} bytes to ${this.peer} is larger than a frame may be, ` +
          `${this.#frameBytesMax} bytes`,
      );
    }
    this.#flush();
    this.#port.sendPieces(encodeBulkHeader(frame), frame.bytes);
    this.#dropSlowConsumer();
  }

  close(): Promise<void> {
    if (this.#state === 'open') {
      this.#flush();
      // Flushing may have found a slow consumer.
      if (this.#state === 'open') {
        this.#state = 'closing';
        this.#isMuted = true;
        this.#why = new FarmError('ERR_CLOSED', `the connection to ${this.peer} was closed`);
        this.#port.close();
      }
    }
    return this.#gone.promise;
  }

  terminate(): void {
    if (this.#state === 'ended') return;
    const why = new FarmError('ERR_CLOSED', `the connection to ${this.peer} was terminated`);
    this.#why ??= why;
    this.#isMuted = true;
    this.#end();
    this.#port.terminate();
  }

  ref(): void {
    this.#port.ref?.();
  }

  unref(): void {
    this.#port.unref?.();
  }

  /**
   * The port's way in: a frame arrived, in one or more pieces. Called from the event loop.
   */
  receive(frame: readonly Uint8Array[]): void {
    if (this.#isMuted || this.#state === 'ended') return;
    if (this.#isDelivering) this.#deliver(frame);
    else this.#inbox.push(frame);
  }

  /**
   * The port's way to say it is closed, for good. Called once, from the event loop.
   *
   * @param why - The reason, where this side did not end the connection itself.
   */
  gone(why: FarmError): void {
    this.#why ??= why;
    this.#end();
    this.#gone.resolve();
  }

  /**
   * Ends the connection for a reason of this side, which the peer is told.
   */
  fail(why: FarmError): void {
    if (this.#state === 'ended') return;
    this.#why ??= why;
    this.#isMuted = true;
    this.#end();
    this.#port.abort(why);
  }

  #flush(): void {
    this.#isFlushDue = false;
    if (this.#pending.length === 0 || this.#state !== 'open') return;
    const encoded = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#port.send(joinBatch(encoded));
    this.#dropSlowConsumer();
  }

  #dropSlowConsumer(): void {
    const { bufferedBytes } = this;
    if (bufferedBytes <= this.#sendBufferBytesMax) return;
    const why = new FarmError(
      'ERR_LIMIT',
      `${this.peer} reads too slowly: ${bufferedBytes} bytes wait to be sent, ` +
        `${this.#sendBufferBytesMax} may`,
    );
    this.fail(why);
  }

  #deliver(pieces: readonly Uint8Array[]): void {
    const handlers = this.#handlers;
    if (this.#isMuted || handlers === undefined) return;
    let bulk: BulkFrame | undefined;
    let batch: readonly MessagesBySpeaker[S][] = [];
    try {
      const [first = EMPTY, ...rest] = pieces;
      if (isBulk(first)) {
        // A client only asks for values, it never sends one this way.
        if (this.#speaker === 'client') throw new FarmError('ERR_PROTOCOL', 'unasked bulk frame');
        bulk = decodeBulk(first, rest);
      } else {
        batch = checked(
          decodeBatch(rest.length === 0 ? first : Buffer.concat(pieces)),
          this.#speaker,
        );
      }
    } catch (error) {
      this.fail(asProtocolError(error));
      return;
    }
    // Outside the try: what a handler throws is a bug of its owner and not a malformed frame.
    if (bulk !== undefined) handlers.bulk(bulk);
    else handlers.messages(batch);
  }

  /** Nothing arrives or leaves any more; `closed` follows from the event loop. */
  #end(): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#pending = [];
    this.#pendingBytes = 0;
    setImmediate(() => {
      // Where nobody listens yet, the one who comes to listen is told.
      if (this.#isDelivering) this.#tellClosed();
    });
  }

  #tellClosed(): void {
    if (this.#isClosedTold || this.#why === undefined) return;
    this.#isClosedTold = true;
    this.#handlers?.closed(this.#why);
  }
}

const EMPTY = new Uint8Array(0);

function checked<S extends Speaker>(
  values: readonly unknown[],
  speaker: S,
): readonly MessagesBySpeaker[S][] {
  for (const value of values) checkMessage(value, speaker);
  // SAFE: every value was checked just now.
  return values as readonly MessagesBySpeaker[S][];
}

function encoding(message: Message): Uint8Array {
  try {
    return encodeMessage(message);
  } catch (error) {
    throw new FarmError('ERR_INTERNAL', `a message ${message.op} cannot be encoded`, {
      cause: error,
    });
  }
}

function asProtocolError(error: unknown): FarmError {
  if (error instanceof FarmError) return error;
  return new FarmError('ERR_PROTOCOL', 'malformed frame', { cause: error });
}

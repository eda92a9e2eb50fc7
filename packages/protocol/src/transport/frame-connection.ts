import type { BulkFrame, Connection, ConnectionHandlers } from '../connection.ts';
import { batchBytesMax, encodeMessage, joinBatch } from '../codec/batch.ts';
import { decodeAck, encodeAck, isAck } from '../codec/ack.ts';
import { BULK_HEADER_BYTES, encodeBulkHeader } from '../codec/bulk.ts';
import type { MessagesBySpeaker, Speaker } from '../codec/check-message.ts';
import { FarmError, LIMITS, Replay } from '../core/index.ts';
import type { Message } from '../core/index.ts';
import { Acknowledgements } from './acknowledgements.ts';
import { asProtocolError, decodeFrame } from './frame-contents.ts';
import type { FrameContents } from './frame-contents.ts';
import type { FramePort } from './frame-port.ts';

/** A batch leaves early once it has this many bytes, so that encoding and sending overlap. */
const BATCH_BYTES = 1_048_576;
/** The longest time a timer of Node can count. */
const TIMER_MS_MAX = 2_147_483_647;

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
  /**
   * Whether frames are counted and kept until the peer has acknowledged them, so that the
   * connection can go on over another port. Both ends agree on it by the role.
   * @default false
   */
  readonly isResumable?: boolean;
}

/** A frame, in one or two pieces. */
type Pieces = readonly [Uint8Array] | readonly [Uint8Array, Uint8Array];

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
 *
 * A resumable one outlives its port: after `cut` what is sent is kept, and `attach` sends it over
 * another port, behind what the peer lacks.
 */
export class FrameConnection<Out extends Message, S extends Speaker> implements Connection<
  MessagesBySpeaker[S],
  Out
> {
  readonly peer: string;
  /** Null while there is none. */
  #port: FramePort | null;
  readonly #replay: Replay<Pieces> | null;
  readonly #acks = new Acknowledgements(() => this.#port?.send(encodeAck(this.received)));
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
  #isDetachedTold = false;
  #isRef = true;
  /** Keeps the process alive while there is no port to do it. */
  #lifeline: NodeJS.Timeout | undefined;

  constructor(port: FramePort, options: FrameConnectionOptions<S>) {
    this.peer = options.peer;
    this.#port = port;
    this.#speaker = options.speaker;
    this.#sendBufferBytesMax = options.sendBufferBytesMax ?? LIMITS.sendBufferBytesMax;
    this.#frameBytesMax = options.frameBytesMax ?? LIMITS.frameBytesMax;
    this.#replay = options.isResumable === true ? new Replay() : null;
  }

  get bufferedBytes(): number {
    return this.#pendingBytes + (this.#port?.bufferedBytes ?? this.#replay?.bytes ?? 0);
  }

  /** Frames that have arrived, for the peer to know what to send again. */
  get received(): number {
    return this.#replay?.received ?? 0;
  }

  /** Whether it keeps the process alive. */
  get isRef(): boolean {
    return this.#isRef;
  }

  /** Whether it is over, or this side is ending it. */
  get isEnded(): boolean {
    return this.#state !== 'open';
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
      else this.#port?.resume();
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
    this.#post([encodeBulkHeader(frame), frame.bytes]);
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
        if (this.#port === null) this.gone(this.#why);
        else this.#port.close();
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
    if (this.#port === null) this.#gone.resolve();
    else this.#port.terminate();
  }

  ref(): void {
    this.#isRef = true;
    this.#port?.ref?.();
    this.#lifeline?.ref();
  }

  unref(): void {
    this.#isRef = false;
    this.#port?.unref?.();
    this.#lifeline?.unref();
  }

  /** Whether this port carries the connection; what another one says is of no interest. */
  isOver(port: FramePort): boolean {
    return this.#port === port;
  }

  /**
   * The port is lost, though neither side ended the connection. Where it can go on over another
   * one, it waits for that; else it is over.
   */
  cut(why: FarmError): void {
    const canWait = this.#replay !== null && this.#handlers?.detached !== undefined;
    if (!canWait || this.#state !== 'open') {
      this.gone(why);
      return;
    }
    this.#leavePort();
    setImmediate(() => {
      if (this.#port !== null || this.#state !== 'open') return;
      this.#isDetachedTold = true;
      this.#handlers?.detached?.(why);
    });
  }

  /** Whether {@link attach} would take a peer that has got so many frames. */
  canAttach(receivedByPeer: number): boolean {
    return this.#state === 'open' && this.#replay?.isPossible(receivedByPeer) === true;
  }

  /** Gives up the port, if there is one, without a word to anybody: another takes its place. */
  leavePort(): void {
    const port = this.#port;
    if (port === null) return;
    this.#leavePort();
    port.terminate();
  }

  /**
   * Goes on over another port, with a peer that has got so many frames.
   *
   * @throws FarmError `ERR_PROTOCOL` where that cannot be, see {@link canAttach}.
   */
  attach(port: FramePort, receivedByPeer: number): void {
    const replay = this.#replay;
    if (replay === null || !this.canAttach(receivedByPeer)) {
      throw new FarmError('ERR_PROTOCOL', `${this.peer} cannot take up the connection again`);
    }
    this.leavePort();
    replay.acknowledge(receivedByPeer);
    this.#port = port;
    clearInterval(this.#lifeline);
    this.#lifeline = undefined;
    if (!this.#isRef) port.unref?.();
    for (const pieces of replay.unacknowledged()) sendTo(port, pieces);
    if (this.#isDelivering) port.resume();
    if (!this.#isDetachedTold) return;
    this.#isDetachedTold = false;
    setImmediate(() => {
      if (this.#state === 'open' && this.#port !== null) this.#handlers?.attached?.();
    });
  }

  /**
   * The port's way in: a frame arrived, in one or more pieces. Called from the event loop.
   */
  receive(frame: readonly Uint8Array[]): void {
    if (this.#isMuted || this.#state === 'ended') return;
    if (this.#replay !== null) {
      const [first = EMPTY] = frame;
      if (isAck(first)) {
        this.#takeAck(this.#replay, first);
        return;
      }
      this.#replay.arrived();
      this.#acks.arrived(sizeOf(frame));
    }
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
    if (this.#port === null) this.#gone.resolve();
    else this.#port.abort(why);
  }

  #flush(): void {
    this.#isFlushDue = false;
    if (this.#pending.length === 0 || this.#state !== 'open') return;
    const encoded = this.#pending;
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#post([joinBatch(encoded)]);
    this.#dropSlowConsumer();
  }

  #post(pieces: Pieces): void {
    this.#replay?.keep(pieces, sizeOf(pieces));
    if (this.#port !== null) sendTo(this.#port, pieces);
  }

  #leavePort(): void {
    this.#port = null;
    this.#acks.stop();
    this.#lifeline ??= setInterval(() => {}, TIMER_MS_MAX);
    if (!this.#isRef) this.#lifeline.unref();
  }

  #takeAck(replay: Replay<Pieces>, frame: Uint8Array): void {
    try {
      const count = decodeAck(frame);
      if (!replay.isPossible(count)) {
        throw new FarmError('ERR_PROTOCOL', `${count} frames are acknowledged, of ${replay.sent}`);
      }
      replay.acknowledge(count);
    } catch (error) {
      this.fail(asProtocolError(error));
    }
  }

  #dropSlowConsumer(): void {
    // What was given to the kernel is kept too, until it is acknowledged: some of it is in order.
    const unacknowledged = (this.#replay?.bytes ?? 0) - this.#sendBufferBytesMax;
    const bufferedBytes = Math.max(this.bufferedBytes, unacknowledged);
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
    let contents: FrameContents<S>;
    try {
      contents = decodeFrame(pieces, this.#speaker);
    } catch (error) {
      this.fail(asProtocolError(error));
      return;
    }
    // Outside the try: what a handler throws is a bug of its owner and not a malformed frame.
    if (contents.kind === 'bulk') handlers.bulk(contents.bulk);
    else handlers.messages(contents.messages);
  }

  /** Nothing arrives or leaves any more; `closed` follows from the event loop. */
  #end(): void {
    if (this.#state === 'ended') return;
    this.#state = 'ended';
    this.#pending = [];
    this.#pendingBytes = 0;
    this.#replay?.clear();
    this.#acks.stop();
    clearInterval(this.#lifeline);
    this.#lifeline = undefined;
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

function sendTo(port: FramePort, pieces: Pieces): void {
  const [first, second] = pieces;
  if (second === undefined) port.send(first);
  else port.sendPieces(first, second);
}

function sizeOf(pieces: readonly Uint8Array[]): number {
  let size = 0;
  for (const piece of pieces) size += piece.byteLength;
  return size;
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

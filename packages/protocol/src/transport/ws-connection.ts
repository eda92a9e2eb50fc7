import type { Socket } from 'node:net';

import type { ClientOptions, RawData, ServerOptions, WebSocket } from 'ws';

import type { Connection } from '../connection.ts';
import type { MessagesBySpeaker, Speaker } from '../codec/check-message.ts';
import { FarmError, LIMITS } from '../core/index.ts';
import type { Message } from '../core/index.ts';
import { CLOSE_CODES, closeReason, peerClosed } from './close-reason.ts';
import { FrameConnection } from './frame-connection.ts';
import type { FramePort } from './frame-port.ts';
import { LIVENESS_TIMES, watchLiveness } from './liveness.ts';
import type { LivenessTimes } from './liveness.ts';

/** How long a peer may take to answer a close frame. */
const CLOSE_ANSWER_MS = 2_000;

/** Pieces up to this size are copied into one frame; larger ones leave as two fragments. */
const COPIED_BYTES_MAX = 32_768;

/** Options for ws on the dialing and on the listening side. */
export const WS_OPTIONS: ClientOptions & ServerOptions = {
  // Compression costs more than it saves on encoded values, and fragments memory.
  perMessageDeflate: false,
  maxPayload: LIMITS.frameBytesMax,
  // A bulk frame has two; nobody needs more.
  maxFragments: 64,
};

/**
 * The dialing side has to mask its frames for the sake of proxies that misread them (RFC 6455,
 * 10.3). Cluster links carry opaque binary data between programs that trust each other: a zero mask
 * is valid, and ws skips the work for it on both sides.
 */
export function zeroMask(mask: Buffer): void {
  mask.fill(0);
}

/** Options of {@link wsConnection}. */
export interface WsConnectionOptions<S extends Speaker> {
  readonly peer: string;
  readonly speaker: S;
  /** Whether the connection outlives its WebSocket, see {@link resumeOver}. @default false */
  readonly isResumable?: boolean;
  /** @default LIVENESS_TIMES */
  readonly liveness?: LivenessTimes | undefined;
  /** @default LIMITS.sendBufferBytesMax */
  readonly sendBufferBytesMax?: number | undefined;
}

/**
 * Makes the connection of an open WebSocket that is past the handshake.
 *
 * @param socket - The socket below, for its count of bytes.
 */
export function wsConnection<Out extends Message, S extends Speaker>(
  ws: WebSocket,
  socket: Socket,
  options: WsConnectionOptions<S>,
): Connection<MessagesBySpeaker[S], Out> {
  const { peer, speaker, sendBufferBytesMax = LIMITS.sendBufferBytesMax, liveness } = options;
  const port = new WsPort(ws, socket);
  const isResumable = options.isResumable === true;
  const connection = new FrameConnection<Out, S>(port, {
    peer,
    speaker,
    sendBufferBytesMax,
    isResumable,
  });
  carry(connection, port, { ws, socket, liveness });
  return connection;
}

/**
 * Lets a connection go on over an open WebSocket that is past the handshake.
 *
 * @param receivedByPeer - How many frames the peer has got, as it says.
 * @throws FarmError `ERR_PROTOCOL` where that cannot be.
 */
export function resumeOver(
  connection: AnyFrameConnection,
  receivedByPeer: number,
  over: Carrier,
): void {
  const port = new WsPort(over.ws, over.socket);
  carry(connection, port, over);
  connection.attach(port, receivedByPeer);
}

/** A connection of whichever role. */
export type AnyFrameConnection = Pick<
  FrameConnection<Message, Speaker>,
  'peer' | 'receive' | 'fail' | 'cut' | 'gone' | 'isOver' | 'attach'
>;

/** An open WebSocket, and the socket below it. */
export interface Carrier {
  readonly ws: WebSocket;
  readonly socket: Socket;
  /** @default LIVENESS_TIMES */
  readonly liveness?: LivenessTimes | undefined;
}

/** Tells the connection what its WebSocket brings, for as long as it is over this one. */
function carry(connection: AnyFrameConnection, port: WsPort, carrier: Carrier): void {
  const { ws, socket, liveness = LIVENESS_TIMES } = carrier;
  const { peer } = connection;
  // A piece for each fragment instead of one copied buffer.
  ws.binaryType = 'fragments';
  port.pause();
  let why: FarmError | undefined;
  ws.on('message', (data, isBinary) => {
    if (!connection.isOver(port)) return;
    if (isBinary) connection.receive(piecesOf(data));
    else connection.fail(new FarmError('ERR_PROTOCOL', 'a text frame after the handshake'));
  });
  ws.on('error', (error) => {
    why = socketFailure(peer, error);
    // A broken protocol ends the connection now, whatever the peer does about it; of a socket that
    // broke, the end follows.
    if (why.code !== 'ERR_CONNECTION_LOST' && connection.isOver(port)) connection.fail(why);
  });
  const stopWatching = watchLiveness(
    {
      get bytesRead() {
        return socket.bytesRead;
      },
      get isPaused() {
        return ws.isPaused;
      },
      ping: () => port.ping(),
      dead: () => {
        const { deadMs } = liveness;
        why = new FarmError(
          'ERR_CONNECTION_LOST',
          `the connection to ${peer} was lost: nothing was heard for ${deadMs / 1000} s`,
        );
        if (connection.isOver(port)) connection.cut(why);
        port.terminate();
      },
    },
    liveness,
  );
  ws.on('close', (code, reason) => {
    stopWatching();
    port.closed();
    if (!connection.isOver(port)) return;
    const how = why ?? peerClosed(peer, code, reason.toString());
    // Without a close frame, nobody meant it to end.
    if (code === CLOSED_WITHOUT_FRAME && how.code === 'ERR_CONNECTION_LOST') connection.cut(how);
    else connection.gone(how);
  });
}

/** The close code of ws where no close frame arrived (RFC 6455, 7.4.1). */
const CLOSED_WITHOUT_FRAME = 1006;

/** Frames over one WebSocket. */
class WsPort implements FramePort {
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  #closeTimer: NodeJS.Timeout | undefined;

  constructor(ws: WebSocket, socket: Socket) {
    this.#ws = ws;
    this.#socket = socket;
  }

  get bufferedBytes(): number {
    return this.#ws.bufferedAmount;
  }

  send(frame: Uint8Array): void {
    this.#ws.send(frame, IGNORE);
  }

  sendPieces(head: Uint8Array, rest: Uint8Array): void {
    if (rest.byteLength <= COPIED_BYTES_MAX) {
      this.#ws.send(Buffer.concat([head, rest]), IGNORE);
      return;
    }
    this.#ws.send(head, { fin: false, binary: true }, IGNORE);
    this.#ws.send(rest, { fin: true, binary: true }, IGNORE);
  }

  ping(): void {
    if (this.#ws.readyState === this.#ws.OPEN) this.#ws.ping(EMPTY, undefined, IGNORE);
  }

  resume(): void {
    this.#ws.resume();
  }

  pause(): void {
    this.#ws.pause();
  }

  close(): void {
    // A paused socket would never see the peer's answer.
    this.#ws.resume();
    if (this.#ws.bufferedAmount === 0) {
      this.#closeWith(CLOSE_CODES.normal, '');
      return;
    }
    // Called once all before it is with the kernel, so the time to answer starts then. Until then
    // the liveness watch bounds the wait.
    this.#ws.ping(EMPTY, undefined, () => this.#closeWith(CLOSE_CODES.normal, ''));
  }

  abort(reason: FarmError): void {
    this.#ws.resume();
    if (this.#ws.bufferedAmount > COPIED_BYTES_MAX) this.#ws.terminate();
    else this.#closeWith(CLOSE_CODES.policy, closeReason(reason));
  }

  terminate(): void {
    this.#ws.terminate();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  /** The socket is gone. */
  closed(): void {
    clearTimeout(this.#closeTimer);
  }

  #closeWith(code: number, reason: string): void {
    this.#ws.close(code, reason);
    this.#closeTimer ??= setTimeout(() => this.#ws.terminate(), CLOSE_ANSWER_MS);
  }
}

const EMPTY = Buffer.alloc(0);

/** A failed write also closes the socket, which is where it is dealt with. */
const IGNORE = (): void => {};

function piecesOf(data: RawData): readonly Uint8Array[] {
  if (Array.isArray(data)) return data;
  return [data instanceof ArrayBuffer ? new Uint8Array(data) : data];
}

function socketFailure(peer: string, error: Error & { readonly code?: string }): FarmError {
  const { code = '' } = error;
  if (code === 'WS_ERR_UNSUPPORTED_MESSAGE_LENGTH') {
    const max = LIMITS.frameBytesMax;
    return new FarmError('ERR_LIMIT', `${peer} sent a frame larger than ${max} bytes`);
  }
  if (code === 'WS_ERR_TOO_MANY_BUFFERED_PARTS') {
    return new FarmError('ERR_LIMIT', `${peer} sent a frame in too many pieces`);
  }
  if (code.startsWith('WS_ERR_')) {
    return new FarmError('ERR_PROTOCOL', `${peer} broke the WebSocket protocol: ${error.message}`);
  }
  return new FarmError(
    'ERR_CONNECTION_LOST',
    `the connection to ${peer} was lost: ${error.message}`,
  );
}

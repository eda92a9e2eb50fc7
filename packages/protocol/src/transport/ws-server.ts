import { createServer } from 'node:http';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

import { WebSocketServer } from 'ws';
import type { RawData, WebSocket } from 'ws';

import { FarmError, LIMITS } from '../core/index.ts';
import type { Message, Role } from '../core/index.ts';
import { formatAddress } from '../address.ts';
import { silentLogger } from '../logger.ts';
import type { Logger } from '../logger.ts';
import { quote } from '../quote.ts';
import { CLOSE_CODES, closeReason } from './close-reason.ts';
import { SPEAKER_TO_SERVER } from './dialogue.ts';
import type { AcceptedConnections } from './dialogue.ts';
import {
  HANDSHAKE_BYTES_MAX,
  bearerToken,
  isSameToken,
  parseHello,
  pathRole,
  refusalOf,
  welcomeOf,
} from './handshake.ts';
import type { HelloByRole } from './handshake.ts';
import type { LivenessTimes } from './liveness.ts';
import { DATA_STREAM_PATH, acceptDataStream } from './data-stream.ts';
import { listenFailure } from './listen-failure.ts';
import { listenLocally } from './local-socket.ts';
import type { LocalListener } from './local-socket.ts';
import { FrameConnection } from './frame-connection.ts';
import { WS_OPTIONS, resumeOver, wsConnection } from './ws-connection.ts';

/** The other end of a socket. */
export interface Remote {
  readonly host: string;
  readonly port: number;
}

/**
 * Whether a hello is welcome, as a new session, or with the connection of the session it wants to
 * take up again.
 */
export type HelloVerdict =
  | { readonly accept: true }
  | { readonly resume: AcceptedConnections[Role] }
  | { readonly refuse: FarmError };

/** Arguments of `onHello`, tied together by the role. */
export type HelloArguments = {
  [R in Role]: [role: R, hello: HelloByRole[R], remote: Remote];
}[Role];

/** Arguments of `onConnection`, tied together by the role. */
export type ConnectionArguments = {
  [R in Role]: [role: R, hello: HelloByRole[R], connection: AcceptedConnections[R], remote: Remote];
}[Role];

/** Options of {@link FarmServer.listen}. */
export interface FarmServerOptions {
  /** A host name or address of this machine; `''` for every interface. */
  readonly host: string;
  /** 0 for any free port. */
  readonly port: number;
  /** The token of each role that may connect; a role without one is not served. */
  readonly tokens: { readonly [R in Role]?: string };
  /** What the welcome says. */
  readonly identity: {
    readonly id: string;
    readonly version: string;
    readonly heartbeatMs: number;
    /** How long lost sessions are kept. @default 0 */
    readonly leaseMs?: number;
  };
  /**
   * Judges a well-formed hello of an authenticated peer. One that has `resume` needs its connection;
   * to accept it as new refuses it, since its session would go on without what was said before.
   * @default accepts all
   */
  readonly onHello?: (...args: HelloArguments) => HelloVerdict;
  /** Takes an open connection. It calls `connection.listen` before it returns, or soon after. */
  readonly onConnection: (...args: ConnectionArguments) => void;
  /**
   * Answers plain HTTP requests on the same port.
   * @default 404
   */
  readonly onRequest?: RequestListener;
  /**
   * Takes bare connections of peers, which have shown their token: data without frames. It has to
   * listen to the socket before it returns. `isLocal`: the socket is that of `localDirectory`.
   * @default none are served
   */
  readonly onDataStream?: (socket: Duplex, isLocal: boolean) => void;
  /**
   * A directory that is this user's alone: data streams of processes on this host come over a socket
   * in it, which copies faster than TCP does. Linux only; where it cannot be used, they come over TCP.
   * @default none
   */
  readonly localDirectory?: string | undefined;
  /** @default silentLogger */
  readonly logger?: Logger;
  /** @default LIMITS.handshakeMs */
  readonly handshakeMs?: number;
  /** @default LIMITS.handshakesOpenMax */
  readonly handshakesOpenMax?: number;
  /** @default LIVENESS_TIMES */
  readonly liveness?: LivenessTimes;
  /** @default LIMITS.sendBufferBytesMax */
  readonly sendBufferBytesMax?: number;
}

/** Where connections come in. */
interface Doors {
  readonly http: Server;
  readonly local: LocalListener | undefined;
  readonly localSockets: WeakSet<Duplex>;
}

/**
 * Listens for clients, workers and peers: HTTP upgrade with a bearer token, a JSON handshake, then
 * binary frames. Nothing is decoded before the token was checked.
 *
 * @example
 * await using server = await FarmServer.listen({
 *   host: '127.0.0.1',
 *   port: 8786,
 *   tokens: { client: makeToken(), worker: makeToken() },
 *   identity: { id: 's-1', version: '0.1.0', heartbeatMs: 2_000 },
 *   // Destructured as one, so that the role narrows hello and connection.
 *   onConnection(...[role, hello, connection]) {
 *     if (role === 'client') connection.listen(…);
 *   },
 * });
 */
export class FarmServer implements AsyncDisposable {
  /** Where it listens: the address it is bound to and the port it got. */
  readonly address: Remote;
  readonly #options: FarmServerOptions;
  readonly #logger: Logger;
  readonly #http: Server;
  readonly #local: LocalListener | undefined;
  readonly #upgrader = new WebSocketServer({
    ...WS_OPTIONS,
    noServer: true,
    clientTracking: false,
  });
  /** Sockets that have neither asked for a page nor finished their handshake. */
  readonly #fresh = new Map<Duplex, NodeJS.Timeout>();
  readonly #webSockets = new Set<WebSocket>();
  readonly #dataStreams = new Set<Duplex>();
  /** Those that came in by the socket in the local directory. */
  readonly #localSockets: WeakSet<Duplex>;
  #closing: Promise<void> | undefined;

  /**
   * Starts to listen.
   *
   * @throws FarmError `ERR_ADDRESS` where it cannot, naming host and port.
   */
  static async listen(options: FarmServerOptions): Promise<FarmServer> {
    const http = createServer({
      // An HTTP request has as long as a handshake has.
      headersTimeout: options.handshakeMs ?? LIMITS.handshakeMs,
      connectionsCheckingInterval: Math.max(50, (options.handshakeMs ?? LIMITS.handshakeMs) / 4),
    });
    const { host, port } = options;
    await new Promise<void>((resolve, reject) => {
      http.once('error', (error) => reject(listenFailure({ host, port }, error)));
      http.listen({ port, ...(host === '' ? {} : { host }) }, resolve);
    });
    http.removeAllListeners('error');
    const { localDirectory } = options;
    const localSockets = new WeakSet<Duplex>();
    const local =
      localDirectory === undefined
        ? undefined
        : await listenLocally(localDirectory, (socket) => {
            localSockets.add(socket);
            http.emit('connection', socket);
          });
    return new FarmServer({ http, local, localSockets }, options);
  }

  private constructor({ http, local, localSockets }: Doors, options: FarmServerOptions) {
    this.#http = http;
    this.#localSockets = localSockets;
    this.#local = local;
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
    const bound = http.address();
    this.address =
      typeof bound === 'object' && bound !== null
        ? { host: bound.address, port: bound.port }
        : { host: options.host, port: options.port };
    http.on('connection', (socket) => this.#onSocket(socket));
    http.on('request', (request, response) => {
      this.#forget(request.socket);
      if (options.onRequest !== undefined) options.onRequest(request, response);
      else response.writeHead(404).end();
    });
    http.on('upgrade', (request, socket, head) => this.#onUpgrade(request, socket, head));
    // Out of file descriptors, for one: no connection more, those there are live on.
    http.on('error', (error) => {
      this.#logger.error('cannot accept a connection', { error: error.message });
    });
  }

  /** Ends all connections and stops listening. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #close(): Promise<void> {
    const closed = Promise.withResolvers<void>();
    this.#http.close(() => closed.resolve());
    for (const socket of this.#fresh.keys()) socket.destroy();
    for (const ws of this.#webSockets) ws.terminate();
    for (const socket of this.#dataStreams) socket.destroy();
    this.#http.closeAllConnections();
    await Promise.all([closed.promise, this.#local?.close()]);
  }

  #onSocket(socket: Socket): void {
    const { handshakeMs = LIMITS.handshakeMs } = this.#options;
    const { handshakesOpenMax = LIMITS.handshakesOpenMax } = this.#options;
    // Those past the limit are told so at their upgrade; this many more do not even get that far.
    if (this.#fresh.size >= 2 * handshakesOpenMax) {
      socket.destroy();
      return;
    }
    const timer = setTimeout(() => socket.destroy(), handshakeMs);
    timer.unref();
    this.#fresh.set(socket, timer);
    socket.once('close', () => this.#forget(socket));
  }

  /** The socket is no open handshake any more. */
  #forget(socket: Duplex): void {
    clearTimeout(this.#fresh.get(socket));
    this.#fresh.delete(socket);
  }

  #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    socket.on('error', () => socket.destroy());
    const { handshakesOpenMax = LIMITS.handshakesOpenMax } = this.#options;
    if (this.#fresh.size > handshakesOpenMax) {
      const message = `${handshakesOpenMax} handshakes are open already; try again`;
      answerHttp(socket, 503, new FarmError('ERR_LIMIT', message));
      return;
    }
    const { onDataStream } = this.#options;
    const isStream = onDataStream !== undefined && request.url === DATA_STREAM_PATH;
    const role = this.#admit(request, isStream ? 'peer' : pathRole(request.url ?? ''));
    if (role instanceof FarmError) {
      this.#logger.warn('refused a connection', { ...remoteOf(request), reason: role.message });
      answerHttp(socket, role.code === 'ERR_UNAUTHORIZED' ? 401 : 404, role);
      return;
    }
    if (isStream) {
      this.#forget(socket);
      this.#dataStreams.add(socket);
      socket.once('close', () => this.#dataStreams.delete(socket));
      const { identity, localDirectory } = this.#options;
      const directory = this.#local === undefined ? undefined : localDirectory;
      acceptDataStream(socket, { id: identity.id, directory });
      onDataStream(socket, this.#localSockets.has(socket));
      return;
    }
    this.#upgrader.handleUpgrade(request, socket, head, (ws) => {
      this.#awaitHello(role, request, ws);
    });
  }

  /** The role a request is for, once it has shown the token for it. */
  #admit(request: IncomingMessage, role: Role | undefined): Role | FarmError {
    const { tokens } = this.#options;
    const path = request.url ?? '';
    const expected = role === undefined ? undefined : tokens[role];
    if (role === undefined || expected === undefined) {
      return new FarmError('ERR_PROTOCOL', `there is nothing to connect to at ${quote(path)}`);
    }
    const given = bearerToken(request.headers.authorization);
    if (given === undefined) {
      return new FarmError(
        'ERR_UNAUTHORIZED',
        `connecting as ${role} needs a token and none was given; pass the scheduler file`,
      );
    }
    // All are compared, so that the time taken is the same whichever it is.
    const matches = (['client', 'worker', 'peer'] as const).filter((other) => {
      return isSameToken(given, tokens[other] ?? '') && tokens[other] !== undefined;
    });
    if (matches.includes(role)) return role;
    const [other] = matches;
    return new FarmError(
      'ERR_UNAUTHORIZED',
      other === undefined
        ? `the token is not the one for connecting as ${role}: it is of another cluster or of an ` +
            'earlier start; pass the scheduler file of this one'
        : `the token is for connecting as ${other} and not as ${role}; pass the scheduler file`,
    );
  }

  #awaitHello(role: Role, request: IncomingMessage, ws: WebSocket): void {
    const { socket } = request;
    const { logger = silentLogger, identity } = this.#options;
    const remote = remoteOf(request);
    this.#webSockets.add(ws);
    ws.on('close', () => this.#webSockets.delete(ws));
    const refuse = (why: FarmError): void => {
      stopWaiting();
      logger.warn('refused a connection', { role, ...remote, reason: why.message });
      ws.send(JSON.stringify(refusalOf(why, identity.version)));
      ws.close(CLOSE_CODES.policy, closeReason(why));
      // A peer that does not answer the close is cut off by the handshake's deadline.
    };
    const from = socket.bytesRead;
    const onData = (): void => {
      // A frame header announces any length; what counts is what is kept in memory.
      if (socket.bytesRead - from > 2 * HANDSHAKE_BYTES_MAX) ws.terminate();
    };
    const onError = (): void => ws.terminate();
    const onMessage = (data: RawData, isBinary: boolean): void => {
      stopWaiting();
      try {
        if (isBinary || !Buffer.isBuffer(data)) {
          throw new FarmError('ERR_PROTOCOL', 'the first frame is not a JSON text frame');
        }
        if (data.byteLength > HANDSHAKE_BYTES_MAX) {
          throw new FarmError('ERR_LIMIT', `a hello has at most ${HANDSHAKE_BYTES_MAX} bytes`);
        }
        this.#welcome(role, data.toString(), ws, socket, remote);
      } catch (error) {
        if (!(error instanceof FarmError)) throw error;
        refuse(error);
      }
    };
    const stopWaiting = (): void => {
      socket.off('data', onData);
      ws.off('message', onMessage);
      ws.off('error', onError);
    };
    // Past the handshake the connection deals with errors, unless there is none.
    ws.on('error', () => {});
    ws.on('error', onError);
    ws.on('message', onMessage);
    socket.on('data', onData);
  }

  /** Answers a hello and hands the connection over. */
  #welcome(role: Role, frame: string, ws: WebSocket, socket: Socket, remote: Remote): void {
    const { identity, onHello, onConnection, liveness, sendBufferBytesMax } = this.#options;
    const hello = parseHello(frame, role, identity);
    // SAFE: parseHello returned the hello of this very role; the three belong together.
    const verdict = onHello?.(...([role, hello, remote] as unknown as HelloArguments));
    if (verdict !== undefined && 'refuse' in verdict) throw verdict.refuse;
    const carrier = { ws, socket, liveness };
    const resumed = 'resume' in hello ? hello.resume : undefined;
    if (resumed !== undefined) {
      const known = verdict !== undefined && 'resume' in verdict ? verdict.resume : undefined;
      if (!(known instanceof FrameConnection) || !known.canAttach(resumed)) throw unknownSession();
      this.#forget(socket);
      // What still comes over the old socket would come again over the new one.
      known.leavePort();
      ws.send(JSON.stringify(welcomeOf(identity, known.received)));
      resumeOver(known, resumed, carrier);
      return;
    }
    this.#forget(socket);
    ws.send(JSON.stringify(welcomeOf(identity, 0)));
    const where = formatAddress({ secure: false, ...remote }).replace('tcp://', '');
    const connection = wsConnection<Message, (typeof SPEAKER_TO_SERVER)[Role]>(ws, socket, {
      peer: `${role} ${hello.name} at ${where}`,
      speaker: SPEAKER_TO_SERVER[role],
      isResumable: role !== 'peer',
      liveness,
      sendBufferBytesMax,
    });
    // SAFE: the speaker of this role was chosen above, so the connection hears its messages.
    onConnection(...([role, hello, connection, remote] as unknown as ConnectionArguments));
  }
}

function unknownSession(): FarmError {
  return new FarmError(
    'ERR_CONNECTION_LOST',
    'the session is not known (any more): it was lost for too long, or the scheduler is another',
  );
}

function remoteOf(request: IncomingMessage): Remote {
  const { remoteAddress = 'unknown', remotePort = 0 } = request.socket;
  // A dual-stack listener shows IPv4 peers as ::ffff:10.0.0.1.
  return { host: remoteAddress.replace(/^::ffff:(?=\d+\.)/, ''), port: remotePort };
}

const STATUS_TEXTS = { 401: 'Unauthorized', 404: 'Not Found', 503: 'Service Unavailable' } as const;

/** Refuses an upgrade with a JSON body that `dial` turns into the same error. */
function answerHttp(socket: Duplex, status: keyof typeof STATUS_TEXTS, why: FarmError): void {
  const body = JSON.stringify({ code: why.code, message: why.message });
  socket.once('finish', () => socket.destroy());
  socket.end(
    [
      `HTTP/1.1 ${status} ${STATUS_TEXTS[status]}`,
      'Connection: close',
      'Content-Type: application/json',
      `Content-Length: ${Buffer.byteLength(body)}`,
      ...(status === 401 ? ['WWW-Authenticate: Bearer realm="farm"'] : []),
      '',
      body,
    ].join('\r\n'),
  );
}

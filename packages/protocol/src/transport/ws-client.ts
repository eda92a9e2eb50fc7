import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';

import { WebSocket } from 'ws';
import type { RawData } from 'ws';

import { formatAddress, webSocketUrl } from '../address.ts';
import type { Address } from '../address.ts';
import { FarmError } from '../core/index.ts';
import type { Hello, Message, Role, Welcome } from '../core/index.ts';
import { silentLogger } from '../logger.ts';
import type { Logger } from '../logger.ts';
import { quote } from '../quote.ts';
import { peerClosed } from './close-reason.ts';
import { connectFailure, connectTimeout } from './connect-failure.ts';
import { SPEAKER_TO_DIALER } from './dialogue.ts';
import type { DialedConnections } from './dialogue.ts';
import { HANDSHAKE_BYTES_MAX, isToken, parseAnswer, refused, rolePath } from './handshake.ts';
import type { HelloByRole } from './handshake.ts';
import type { LivenessTimes } from './liveness.ts';
import { FrameConnection } from './frame-connection.ts';
import { WS_OPTIONS, resumeOver, wsConnection, zeroMask } from './ws-connection.ts';

/** Options of {@link dial}. */
export interface DialOptions<R extends Role> {
  readonly address: Address;
  readonly role: R;
  /** The token of this role. */
  readonly token: string;
  readonly hello: HelloByRole[R];
  /**
   * The connection of the hello's `incarnation`, which lost its socket: it goes on over the new one,
   * and is what `dial` resolves with.
   * @default a new session
   */
  readonly resume?: DialedConnections[R] | undefined;
  /** For connecting and the handshake together. */
  readonly timeoutMs: number;
  /** Gives up; `dial` rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** @default silentLogger */
  readonly logger?: Logger | undefined;
  /** @default LIVENESS_TIMES */
  readonly liveness?: LivenessTimes | undefined;
  /** @default LIMITS.sendBufferBytesMax */
  readonly sendBufferBytesMax?: number | undefined;
}

/** What {@link dial} ends with. */
export interface Dialed<R extends Role> {
  readonly connection: DialedConnections[R];
  readonly welcome: Welcome;
}

/**
 * Connects to a scheduler, or as a peer to a worker, once.
 *
 * @throws FarmError `ERR_CONNECT` where nothing answers in time, `ERR_UNAUTHORIZED` where the token
 *   is refused, `ERR_VERSION` where the other side speaks another protocol version, `ERR_PROTOCOL`
 *   where it is no farm process, `ERR_LIMIT` where it has too many handshakes open,
 *   `ERR_CONNECTION_LOST` where a session to be resumed is not known any more. Each names the
 *   address; none holds the token.
 *
 * @example
 * const { connection, welcome } = await dial({
 *   address: parseAddress('tcp://10.0.0.1:8786', { defaultPort: 8786 }),
 *   role: 'client',
 *   token,
 *   hello: { op: 'hello', role: 'client', protocol: PROTOCOL_VERSION, version, incarnation, name },
 *   timeoutMs: 10_000,
 * });
 */
export async function dial<R extends Role>(options: DialOptions<R>): Promise<Dialed<R>> {
  const { address, role, token, timeoutMs, signal, resume } = options;
  const { logger = silentLogger, liveness, sendBufferBytesMax } = options;
  signal?.throwIfAborted();
  const peer = `${role === 'peer' ? 'worker' : 'scheduler'} at ${formatAddress(address)}`;
  if (!isToken(token)) {
    throw new FarmError('ERR_UNAUTHORIZED', `the token for the ${peer} is not a valid token`);
  }
  const lost = resume instanceof FrameConnection ? resume : undefined;
  // SAFE: only the connection of a client or worker is resumed, and their hellos may say so.
  const hello = (
    lost === undefined ? options.hello : { ...options.hello, resume: lost.received }
  ) as Hello;
  const ws = new WebSocket(webSocketUrl(address, rolePath(role)), {
    ...WS_OPTIONS,
    generateMask: zeroMask,
    followRedirects: false,
    headers: { authorization: `Bearer ${token}` },
  });
  // An error after the outcome is known is of no interest: the socket is being destroyed.
  ws.on('error', () => {});
  const connect = (welcome: Welcome, socket: Socket): Dialed<R> => {
    logger.debug('connected', { peer, id: welcome.id });
    if (lost !== undefined && resume !== undefined) {
      resumeOver(lost, welcome.received, { ws, socket, liveness });
      return { connection: resume, welcome };
    }
    const connection = wsConnection<Message, (typeof SPEAKER_TO_DIALER)[Role]>(ws, socket, {
      peer,
      speaker: SPEAKER_TO_DIALER[role],
      isResumable: role !== 'peer',
      liveness,
      sendBufferBytesMax,
    });
    return { connection, welcome };
  };
  try {
    return await handshake(ws, { peer, address, hello, timeoutMs, signal, connect });
  } catch (error) {
    ws.terminate();
    throw error;
  }
}

interface HandshakeOptions<T> {
  readonly peer: string;
  readonly address: Address;
  readonly hello: Hello;
  readonly timeoutMs: number;
  readonly signal: AbortSignal | undefined;
  /** Takes the WebSocket over, in the same tick in which the welcome arrived. */
  readonly connect: (welcome: Welcome, socket: Socket) => T;
}

async function handshake<T>(ws: WebSocket, options: HandshakeOptions<T>): Promise<T> {
  const { peer, address, hello, timeoutMs, signal, connect } = options;
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  let socket: Socket | undefined;

  const timer = setTimeout(() => reject(connectTimeout(address, timeoutMs)), timeoutMs);
  const onAbort = (): void => reject(abortReason(signal));
  signal?.addEventListener('abort', onAbort, { once: true });
  ws.once('upgrade', (response) => {
    ({ socket } = response);
  });
  ws.once('open', () => ws.send(JSON.stringify(hello)));
  ws.once('unexpected-response', (_request, response) => {
    refusalIn(response, address).then(reject, reject);
  });
  const onError = (error: Error): void => reject(connectFailure(address, error));
  const onClose = (code: number, reason: Buffer): void => {
    const why = peerClosed(peer, code, reason.toString());
    reject(why.code === 'ERR_CONNECTION_LOST' ? handshakeCut(address, why) : why);
  };
  const onMessage = (data: RawData, isBinary: boolean): void => {
    try {
      if (isBinary || !Buffer.isBuffer(data) || socket === undefined) {
        throw new FarmError('ERR_PROTOCOL', `${peer} answered the hello with a binary frame`);
      }
      if (data.byteLength > HANDSHAKE_BYTES_MAX) {
        throw new FarmError('ERR_PROTOCOL', `${peer} answered the hello with too long a frame`);
      }
      const welcome = parseAnswer(data.toString(), peer, hello);
      stopWaiting();
      resolve(connect(welcome, socket));
    } catch (error) {
      reject(error);
    }
  };
  const stopWaiting = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    ws.off('error', onError);
    ws.off('close', onClose);
    ws.off('message', onMessage);
  };
  ws.on('error', onError);
  ws.on('close', onClose);
  ws.once('message', onMessage);
  try {
    return await promise;
  } finally {
    stopWaiting();
  }
}

/** Longest HTTP body read of something that refuses the upgrade, bytes. */
const REFUSAL_BYTES_MAX = 16_384;

/** What an HTTP answer that is no upgrade means. */
async function refusalIn(response: IncomingMessage, address: Address): Promise<FarmError> {
  const shown = formatAddress(address);
  let body = '';
  response.setEncoding('utf8');
  for await (const text of response) {
    body += String(text);
    if (body.length > REFUSAL_BYTES_MAX) break;
  }
  const { statusCode } = response;
  const told = refusalRecord(body);
  if (told !== undefined) return refused(shown, told.code, told.message);
  if (statusCode === 401) {
    return new FarmError('ERR_UNAUTHORIZED', `${shown} refused the token (HTTP 401)`);
  }
  return new FarmError(
    'ERR_PROTOCOL',
    `what answers at ${shown} is not a farm process, or this is not its port for connections: it ` +
      `answered HTTP ${statusCode} ${quote(response.statusMessage ?? '')}`,
  );
}

function refusalRecord(body: string): { code: unknown; message: unknown } | undefined {
  try {
    const value: unknown = JSON.parse(body);
    if (typeof value !== 'object' || value === null) return undefined;
    if (!('code' in value) || !('message' in value)) return undefined;
    return String(value.code).startsWith('ERR_') ? value : undefined;
  } catch {
    return undefined;
  }
}

function handshakeCut(address: Address, why: FarmError): FarmError {
  const shown = formatAddress(address);
  return new FarmError('ERR_CONNECT', `cannot connect to ${shown}: it closed the connection`, {
    cause: why,
  });
}

function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new Error('aborted', { cause: reason });
}

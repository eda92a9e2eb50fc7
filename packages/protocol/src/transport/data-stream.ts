import { connect, type Socket } from 'node:net';

import { formatAddress, type Address } from '../address.ts';
import { FarmError } from '../core/index.ts';
import { connectFailure, connectTimeout } from './connect-failure.ts';
import { isToken } from './handshake.ts';

/** Where workers serve streams of data: an HTTP upgrade, with the token of peers. */
export const DATA_STREAM_PATH = '/farm/v1/data';

/** What the answer to the upgrade must begin with. */
const SWITCHED = 'HTTP/1.1 101 ';
const HEAD_END = '\r\n\r\n';
const HEAD_BYTES_MAX = 4_096;
/** What is read into it is copied from there at once. */
const READ_BYTES = 1_048_576;

/** Options of {@link dialDataStream}. */
export interface DataStreamOptions {
  readonly address: Address;
  /** The token of peers. */
  readonly token: string;
  readonly timeoutMs: number;
  /** Ends the connection whenever it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** Takes what arrives after the upgrade. The bytes are overwritten when it returns. */
  readonly onBytes: (bytes: Uint8Array) => void;
}

/**
 * Opens a bare connection to a worker's store. All that arrives is read into one buffer, again and
 * again, so that whoever takes it copies it once to where it belongs: no other memory is touched.
 *
 * @returns The socket; what is written to it the other side reads as it is.
 * @throws FarmError `ERR_CONNECT` where nothing answers in time, `ERR_UNAUTHORIZED` or
 * `ERR_PROTOCOL` where it is refused.
 */
export async function dialDataStream(options: DataStreamOptions): Promise<Socket> {
  const { address, token, timeoutMs, signal, onBytes } = options;
  const shown = formatAddress(address);
  if (!isToken(token)) {
    throw new FarmError('ERR_UNAUTHORIZED', `the token for ${shown} is not a valid token`);
  }
  const opened = Promise.withResolvers<void>();
  let head: string | null = '';
  const take = (bytes: Uint8Array): void => {
    if (head === null) {
      onBytes(bytes);
      return;
    }
    // The other side says nothing before it is asked.
    head += Buffer.from(bytes).toString('latin1');
    if (!head.includes(HEAD_END) && head.length < HEAD_BYTES_MAX) return;
    if (head.startsWith(SWITCHED)) {
      head = null;
      opened.resolve();
    } else opened.reject(refusal(shown, head));
  };
  const { host, port } = address;
  const socket = connect({
    host,
    port,
    noDelay: true,
    ...(signal === undefined ? {} : { signal }),
    onread: {
      buffer: new Uint8Array(READ_BYTES),
      callback: (count, bytes) => {
        take(bytes.subarray(0, count));
        return true;
      },
    },
  });
  const timer = setTimeout(() => opened.reject(connectTimeout(address, timeoutMs)), timeoutMs);
  socket.on('error', (error) => opened.reject(connectFailure(address, error)));
  socket.once('close', () => {
    opened.reject(new FarmError('ERR_CONNECT', `${shown} closed the connection`));
  });
  socket.write(
    [
      `GET ${DATA_STREAM_PATH} HTTP/1.1`,
      `Host: ${host.includes(':') ? `[${host}]` : host}:${port}`,
      'Connection: Upgrade',
      'Upgrade: farm-data',
      `Authorization: Bearer ${token}${HEAD_END}`,
    ].join('\r\n'),
  );
  try {
    await opened.promise;
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** The answer of the side that serves. */
export function acceptDataStream(socket: { write(text: string): unknown }): void {
  socket.write(
    `${SWITCHED}Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: farm-data${HEAD_END}`,
  );
}

function refusal(shown: string, head: string): FarmError {
  const status = /^HTTP\/1\.1 (\d{3})/.exec(head)?.[1];
  if (status === '401') {
    return new FarmError('ERR_UNAUTHORIZED', `${shown} refused the token (HTTP 401)`);
  }
  const what = status === undefined ? 'something else' : `HTTP ${status}`;
  return new FarmError('ERR_PROTOCOL', `${shown} answered ${what}, it serves no data`);
}

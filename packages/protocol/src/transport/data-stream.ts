import { connect, type NetConnectOpts, type Socket } from 'node:net';

import { formatAddress, type Address } from '../address.ts';
import { FarmError } from '../core/index.ts';
import { connectFailure, connectTimeout } from './connect-failure.ts';
import { isToken } from './handshake.ts';
import { localDoor, type LocalDoor } from './local-socket.ts';

/** Where workers serve streams of data: an HTTP upgrade, with the token of peers. */
export const DATA_STREAM_PATH = '/farm/v1/data';

/** What the answer to the upgrade must begin with. */
const SWITCHED = 'HTTP/1.1 101 ';
const HEAD_END = '\r\n\r\n';
const HEAD_BYTES_MAX = 16_384;
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
  /**
   * Whether the address is one of this host: then a socket in the file system is looked for, which
   * copies faster than TCP does.
   * @default false
   */
  readonly isLocal?: boolean;
  /** Takes what arrives after the upgrade. The bytes are overwritten when it returns. */
  readonly onBytes: (bytes: Uint8Array) => void;
  /**
   * Memory that what arrives next may be read into, without a copy; `onBytes` gets the part of it
   * that was filled. Asked before each read. Undefined for none.
   * @default undefined
   */
  readonly room?: () => Uint8Array | undefined;
}

/** An open data stream. */
export interface OpenDataStream {
  /** What is written to it the other side reads as it is. */
  readonly socket: Socket;
  /** Whether it goes over a socket in the file system, to a process of this user on this host. */
  readonly isLocal: boolean;
}

/** An open stream, and what the other side said of itself. */
interface Opened {
  readonly socket: Socket;
  readonly head: string;
}

/**
 * Opens a bare connection to a worker's store. What arrives is read into the memory that it is for,
 * or else into one buffer, again and again: no other memory is touched.
 *
 * @throws FarmError `ERR_CONNECT` where nothing answers in time, `ERR_UNAUTHORIZED` or
 * `ERR_PROTOCOL` where it is refused.
 */
export async function dialDataStream(options: DataStreamOptions): Promise<OpenDataStream> {
  const { address, token, isLocal = false } = options;
  if (!isToken(token)) {
    const shown = formatAddress(address);
    throw new FarmError('ERR_UNAUTHORIZED', `the token for ${shown} is not a valid token`);
  }
  const { host, port } = address;
  const opened = await open({ host, port }, options);
  const local = isLocal ? await openLocally(opened.head, options) : undefined;
  if (local === undefined) return { socket: opened.socket, isLocal: false };
  opened.socket.destroy();
  return { socket: local, isLocal: true };
}

/** The answer of the side that serves: who it is, and where its socket for this host is. */
export function acceptDataStream(
  socket: { write(text: string): unknown },
  { id, directory }: { readonly id: string; readonly directory?: string | undefined },
): void {
  const local = directory === undefined ? [] : [`Farm-Directory: ${encodeURIComponent(directory)}`];
  const lines = ['Connection: Upgrade', 'Upgrade: farm-data', `Farm-Id: ${encodeURIComponent(id)}`];
  socket.write([`${SWITCHED}Switching Protocols`, ...lines, ...local].join('\r\n') + HEAD_END);
}

/** The same worker by its socket in the file system; undefined where it has none, or none here. */
async function openLocally(head: string, options: DataStreamOptions): Promise<Socket | undefined> {
  const id = header(head, 'Farm-Id');
  const directory = header(head, 'Farm-Directory');
  if (id === undefined || directory === undefined) return undefined;
  let door: LocalDoor | undefined;
  try {
    door = localDoor(decodeURIComponent(directory));
    if (door === undefined) return undefined;
    const { socket, head: answer } = await open({ path: door.path }, options);
    // An address of this host may lead elsewhere, where a directory happens to have the same name.
    if (header(answer, 'Farm-Id') === id) return socket;
    socket.destroy();
  } catch {
    // TCP does as well.
  } finally {
    door?.close();
  }
  return undefined;
}

async function open(to: NetConnectOpts, options: DataStreamOptions): Promise<Opened> {
  const { address, token, timeoutMs, signal, onBytes, room } = options;
  const shown = formatAddress(address);
  const opened = Promise.withResolvers<string>();
  const spare = new Uint8Array(READ_BYTES);
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
      opened.resolve(head);
      head = null;
    } else opened.reject(refusal(shown, head));
  };
  const { host, port } = address;
  const socket = connect({
    ...to,
    noDelay: true,
    ...(signal === undefined ? {} : { signal }),
    onread: {
      buffer: () => (head === null ? room?.() : undefined) ?? spare,
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
    return { socket, head: await opened.promise };
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

function header(head: string, name: string): string | undefined {
  const line = head.split('\r\n').find((text) => text.startsWith(`${name}: `));
  return line?.slice(name.length + 2);
}

function refusal(shown: string, head: string): FarmError {
  const status = /^HTTP\/1\.1 (\d{3})/.exec(head)?.[1];
  if (status === '401') {
    return new FarmError('ERR_UNAUTHORIZED', `${shown} refused the token (HTTP 401)`);
  }
  const what = status === undefined ? 'something else' : `HTTP ${status}`;
  return new FarmError('ERR_PROTOCOL', `${shown} answered ${what}, it serves no data`);
}

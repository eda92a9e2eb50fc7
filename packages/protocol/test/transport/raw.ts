import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';

import { WebSocket } from 'ws';

/** What became of a raw attempt to connect. */
export interface Outcome {
  /** Frames that arrived. */
  readonly frames: readonly string[];
  readonly code: number;
  readonly reason: string;
}

/** Opens a WebSocket with any headers; does what the test says, then waits for its end. */
export function rawAttempt(
  url: string,
  token: string,
  act: (ws: WebSocket) => void,
): Promise<Outcome> {
  const ws = new WebSocket(url, { headers: { authorization: `Bearer ${token}` } });
  const frames: string[] = [];
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  ws.on('message', (data: Buffer) => frames.push(data.toString()));
  ws.on('error', () => {});
  ws.on('close', (code, reason) => resolve({ frames, code, reason: reason.toString() }));
  ws.on('open', () => act(ws));
  return promise;
}

/** Opens a WebSocket that is past its handshake. */
export async function rawOpen(url: string, token: string, hello: object): Promise<WebSocket> {
  const ws = new WebSocket(url, { headers: { authorization: `Bearer ${token}` } });
  ws.on('error', () => {});
  await once(ws, 'open');
  ws.send(JSON.stringify(hello));
  await once(ws, 'message');
  return ws;
}

/** The answer to an HTTP request of any bytes. */
export async function rawHttp(port: number, request: string): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(request);
  let answer = '';
  socket.on('data', (data) => {
    answer += String(data);
  });
  await untilSocketClosed(socket);
  return answer;
}

/** Resolves once a socket is closed, be it by an error. */
export function untilSocketClosed(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once('close', () => resolve());
  return promise;
}

/** A TCP connection that says `text` and nothing more. */
export async function rawSocket(port: number, text: string): Promise<Socket> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  await once(socket, 'connect');
  if (text !== '') socket.write(text);
  return socket;
}

/** The lines of an upgrade request. */
export function upgradeRequest(path: string, headers: readonly string[] = []): string {
  return [
    `GET ${path} HTTP/1.1`,
    'Host: localhost',
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
    '',
    '',
  ].join('\r\n');
}

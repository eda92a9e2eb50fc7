import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';

import { afterEach, expect, test } from 'vitest';

import { type DataStreamOptions, dialDataStream, FarmServer } from '../../src/index.ts';

const TOKEN = 'peer-token';
const CLOSING: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of CLOSING.splice(0).toReversed()) await close();
});

/** Answers whatever it is asked by the same. */
async function anEcho(localDirectory?: string, id: string = 'w-1'): Promise<FarmServer> {
  const server = await FarmServer.listen({
    host: '127.0.0.1',
    port: 0,
    tokens: { peer: TOKEN },
    identity: { id, version: '0.0.0', heartbeatMs: 0 },
    localDirectory,
    onConnection: () => {},
    onDataStream: (socket: Duplex) => void socket.pipe(socket),
  });
  CLOSING.push(() => server.close());
  return server;
}

async function aDirectory(name: string = 'own'): Promise<string> {
  const parent = await mkdtemp(join(tmpdir(), 'farm-stream-'));
  CLOSING.push(() => rm(parent, { recursive: true, force: true }));
  // Longer than a socket's address may be.
  return mkdtemp(join(parent, `${name}-${'é'.repeat(60)}-`));
}

async function dialled(
  port: number,
  options: Partial<DataStreamOptions> = {},
): Promise<{ readonly socket: Socket; readonly arrived: () => string }> {
  let arrived = '';
  const { socket, isLocal } = await dialDataStream({
    address: { secure: false, host: '127.0.0.1', port },
    token: TOKEN,
    timeoutMs: 5_000,
    isLocal: true,
    onBytes: (bytes) => {
      arrived += Buffer.from(bytes).toString();
      socket.emit('arrived');
    },
    ...options,
  });
  CLOSING.push(() => socket.destroy());
  expect(isLocal).toBe(socket.remotePort === undefined);
  return { socket, arrived: () => arrived };
}

/** Whether it goes over TCP, and works. */
async function isTcp(port: number, options: Partial<DataStreamOptions> = {}): Promise<boolean> {
  const { socket, arrived } = await dialled(port, options);
  const answered = new Promise((resolve) => socket.once('arrived', resolve));
  socket.write('hello');
  await answered;
  expect(arrived()).toBe('hello');
  return socket.remotePort !== undefined;
}

const onLinux = process.platform === 'linux';

test.runIf(onLinux)('on one host a socket in a private directory is used', async () => {
  const directory = await aDirectory();
  const server = await anEcho(directory);
  expect(await isTcp(server.address.port)).toBe(false);
  expect(await isTcp(server.address.port, { isLocal: false })).toBe(true);
  await server.close();
  expect(existsSync(join(directory, 'data.sock'))).toBe(false);
});

test.runIf(onLinux)('a directory that others may enter is not used, on either side', async () => {
  const directory = await aDirectory();
  await chmod(directory, 0o711);
  const open = await anEcho(directory);
  expect(existsSync(join(directory, 'data.sock'))).toBe(false);
  expect(await isTcp(open.address.port)).toBe(true);
  const other = await aDirectory();
  const server = await anEcho(other);
  await chmod(other, 0o750);
  expect(await isTcp(server.address.port)).toBe(true);
});

test.runIf(onLinux).each([
  ['of another worker', encodeURIComponent],
  ['that is named in no way that can be read', () => '%zz'],
])('the socket %s is not used', async (_, told) => {
  const directory = await aDirectory();
  await anEcho(directory, 'another');
  // As at the other end of a tunnel: the directory's name leads to another worker here.
  const tunnel = createServer((socket) => {
    socket.once('data', () => {
      socket.write(
        'HTTP/1.1 101 Switching Protocols\r\nFarm-Id: far\r\n' +
          `Farm-Directory: ${told(directory)}\r\n\r\n`,
      );
      socket.pipe(socket);
    });
  });
  await new Promise<void>((listening) => tunnel.listen(0, '127.0.0.1', listening));
  CLOSING.push(() => tunnel.close());
  const address = tunnel.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  expect(await isTcp(port)).toBe(true);
});

test.runIf(onLinux)('the socket asks for the token, too', async () => {
  const directory = await aDirectory('s');
  await anEcho(directory);
  const { localDoor } = await import('../../src/transport/local-socket.ts');
  const door = localDoor(directory);
  const socket = connect({ path: door?.path ?? '' });
  CLOSING.push(() => socket.destroy());
  socket.write(
    'GET /farm/v1/data HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: farm-data\r\n' +
      'Authorization: Bearer guess\r\n\r\n',
  );
  const answer = await new Promise<Buffer>((resolve) => socket.once('data', resolve));
  door?.close();
  expect(answer.toString()).toContain('HTTP/1.1 401');
});

test('what arrives is read into the room that there is for it', async () => {
  const server = await anEcho();
  const room = new Uint8Array(8);
  let at = 0;
  const inRoom: boolean[] = [];
  let done = (): void => {};
  const { socket } = await dialled(server.address.port, {
    room: () => (at < room.byteLength ? room.subarray(at) : undefined),
    onBytes: (bytes) => {
      inRoom.push(bytes.buffer === room.buffer);
      at += bytes.byteLength;
      done();
    },
  });
  for (const text of ['abc', 'defgh', 'ij']) {
    const came = new Promise<void>((resolve) => (done = resolve));
    socket.write(text);
    await came;
  }
  // What was read first was read before there was somebody to ask for room.
  expect(inRoom.slice(1)).toEqual([true, false]);
  expect(Buffer.from(room.subarray(3)).toString()).toBe('defgh');
});

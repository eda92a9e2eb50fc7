import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import type { Socket } from 'node:net';

import { Client } from '@farm/client';
import { expect, test } from 'vitest';
import { WebSocket } from 'ws';

import { Site, until } from './processes.ts';

interface File {
  readonly address: string;
  readonly farm: { readonly tokens: { readonly client: string; readonly worker: string } };
}

// Goal: whoever has no business here is refused with a reason, and a running farm does not notice.
test('strangers are refused while a farm runs', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '2');
  await until('the file exists', () => existsSync(site.schedulerFile));
  const file = JSON.parse(await readFile(site.schedulerFile, 'utf8')) as File;
  const { hostname, port } = new URL(file.address.replace('tcp:', 'http:'));
  const url = `ws://${hostname}:${port}/farm/v1/`;

  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1);
  const sleepers = client.map(
    async (x: number) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return x;
    },
    Array.from({ length: 400 }, (_, index) => index),
  );

  expect(await refusal(`${url}client`, undefined)).toBe(401);
  expect(await refusal(`${url}client`, 'wrong')).toBe(401);
  expect(await refusal(`${url}client`, file.farm.tokens.worker)).toBe(401);
  expect(await refusal(`${url}worker`, file.farm.tokens.client)).toBe(401);
  expect(await refusal(`${url}admin`, file.farm.tokens.client)).toBe(404);

  const halfOpen: Socket[] = [];
  for (let index = 0; index < 100; index++) {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.write('GET /farm/v1/client HTTP/1.1\r\nHost: x\r\n');
    halfOpen.push(socket);
  }
  for (const garbage of ['SSH-2.0-OpenSSH_9.2\r\n', '\0\u0001\u0002', 'GET / HTTP/1.1\r\n\r\n']) {
    const socket = connect(Number(port), hostname);
    socket.on('error', () => {});
    socket.end(garbage);
  }
  expect(await closeReason(`${url}client`, file.farm.tokens.client, ['not json'])).toMatch(
    /hello|JSON/i,
  );
  const hello = {
    op: 'hello',
    role: 'client',
    protocol: 999,
    version: '9',
    incarnation: 'x',
    name: 'x',
  };
  expect(
    await closeReason(`${url}client`, file.farm.tokens.client, [JSON.stringify(hello)]),
  ).toMatch(/999/);
  const good = { ...hello, protocol: 1 };
  const malformed = Buffer.from('93c1c1c1', 'hex');
  const why = await closeReason(`${url}client`, file.farm.tokens.client, [
    JSON.stringify(good),
    malformed,
  ]);
  expect(why).not.toBe('');

  expect(await client.gather(sleepers)).toHaveLength(400);
  expect((await client.schedulerInfo()).workers).toHaveLength(1);
  for (const socket of halfOpen) socket.destroy();
});

function socketTo(url: string, token: string | undefined): WebSocket {
  const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const socket = new WebSocket(url, { headers, perMessageDeflate: false });
  socket.on('error', () => {});
  return socket;
}

/** The HTTP status a connection is refused with. */
async function refusal(url: string, token: string | undefined): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const socket = socketTo(url, token);
  socket.on('unexpected-response', (_, response) => {
    resolve(response.statusCode ?? 0);
    socket.terminate();
  });
  socket.on('open', () => reject(new Error('it was let in')));
  return promise;
}

/** Sends frames and returns what the other side says before it closes. */
async function closeReason(
  url: string,
  token: string,
  frames: readonly (string | Buffer)[],
): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<string>();
  const socket = socketTo(url, token);
  let said = '';
  socket.on('open', () => {
    for (const frame of frames) socket.send(frame);
  });
  socket.on('message', (data) => (said += String(data)));
  socket.on('close', (_, reason) => resolve(said + String(reason)));
  return promise;
}

import { once } from 'node:events';
import { createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

import { describe, expect, it } from 'vitest';

import {
  FarmError,
  FarmServer,
  PROTOCOL_VERSION,
  accepted,
  clientHeartbeat,
  dial,
  makeToken,
} from '@farm/protocol';
import type { ConnectionArguments, HelloArguments, Role } from '@farm/protocol';
import { rawAttempt, rawHttp, rawSocket, untilSocketClosed, upgradeRequest } from './raw.ts';
import { record } from './recorder.ts';
import { CLIENT_HELLO, WORKER_HELLO, startRig } from './rig.ts';
import { containing, matching } from './texts.ts';

function drained(socket: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once('drain', () => resolve());
  return promise;
}

function clientDial(port: number, token: string, overrides: object = {}): Promise<unknown> {
  return dial({
    address: { secure: false, host: '127.0.0.1', port },
    role: 'client',
    token,
    hello: { ...CLIENT_HELLO, ...overrides },
    timeoutMs: 5_000,
  });
}

describe('the token', () => {
  it.each<readonly [string, Role, (rig: { client: string; worker: string }) => string, RegExp]>([
    ['a wrong token', 'client', () => makeToken(), /as client: it is of another cluster/],
    [
      'the token of a worker',
      'client',
      (t) => t.worker,
      /for connecting as worker and not as client/,
    ],
    [
      'the token of a client',
      'worker',
      (t) => t.client,
      /for connecting as client and not as worker/,
    ],
    ['a prefix of the token', 'client', (t) => t.client.slice(0, -1), /not the one for connecting/],
  ])('is refused before any frame: %s', async (_what, role, choose, message) => {
    await using rig = await startRig();
    const token = choose(rig.tokens);
    const address = { secure: false, ...rig.server.address };
    const hello = role === 'client' ? CLIENT_HELLO : WORKER_HELLO;
    const attempt = dial({ address, role, token, hello, timeoutMs: 5_000 });
    const why: unknown = await attempt.catch((error: unknown) => error);
    expect(why).toBeInstanceOf(FarmError);
    expect(why).toMatchObject({
      code: 'ERR_UNAUTHORIZED',
      message: matching(message),
    });
    expect(String(why)).not.toContain(token);
    expect(String(why)).not.toContain(rig.tokens.client);
  });

  it.each([
    ['none', []],
    ['an empty one', ['Authorization: Bearer ']],
    ['another scheme', ['Authorization: Basic YTpi']],
    ['one of 10 KB', [`Authorization: Bearer ${'x'.repeat(10_000)}`]],
  ])('is asked for with 401 and a JSON body: %s', async (_what, headers) => {
    await using rig = await startRig();
    const answer = await rawHttp(
      rig.server.address.port,
      upgradeRequest('/farm/v1/worker', headers),
    );
    const [head = '', body = ''] = answer.split('\r\n\r\n');
    expect(head).toMatch(/^HTTP\/1\.1 401 Unauthorized\r\n/);
    expect(JSON.parse(body)).toEqual({
      code: 'ERR_UNAUTHORIZED',
      message: 'connecting as worker needs a token and none was given; pass the scheduler file',
    });
  });

  it.each(['/', '/farm/v1/', '/farm/v1/admin', '/farm/v1/client/', '/farm/v1/peer', '/status'])(
    'is worth nothing at %s',
    async (path) => {
      await using rig = await startRig();
      const authorization = `Authorization: Bearer ${rig.tokens.client}`;
      const answer = await rawHttp(rig.server.address.port, upgradeRequest(path, [authorization]));
      expect(answer).toMatch(/^HTTP\/1\.1 404 /);
    },
  );
});

describe('the hello', () => {
  it('opens a connection of its role, with what it said', async () => {
    const opened = Promise.withResolvers<ConnectionArguments>();
    const judged: HelloArguments[] = [];
    await using rig = await startRig({
      onHello: (...args) => {
        judged.push(args);
        return { accept: true };
      },
      onConnection: (...args) => opened.resolve(args),
    });
    const { connection, welcome } = await dial({
      address: { secure: false, ...rig.server.address },
      role: 'worker',
      token: rig.tokens.worker,
      hello: WORKER_HELLO,
      timeoutMs: 5_000,
    });
    expect(welcome).toEqual({
      op: 'welcome',
      protocol: PROTOCOL_VERSION,
      version: '0.1.0',
      id: 's-1',
      heartbeatMs: 1_000,
      leaseMs: 0,
      received: 0,
    });
    const [role, hello, accepted, remote] = await opened.promise;
    expect([role, hello]).toEqual(['worker', WORKER_HELLO]);
    expect(judged).toEqual([['worker', WORKER_HELLO, remote]]);
    expect(accepted.peer).toBe(`worker w-1 at 127.0.0.1:${remote.port}`);
    expect(connection.peer).toBe(`scheduler at tcp://127.0.0.1:${rig.server.address.port}`);
  });

  it('of another protocol version is refused, both versions named, on both sides', async () => {
    await using rig = await startRig();
    const attempt = clientDial(rig.server.address.port, rig.tokens.client, {
      protocol: 99,
      version: '9.9.9',
    });
    const text =
      /server speaks protocol 1 \(farm 0\.1\.0\), this client speaks protocol 99 \(farm 9\.9\.9\)/;
    await expect(attempt).rejects.toMatchObject({
      code: 'ERR_VERSION',
      message: matching(text),
    });
  });

  it('may be refused by the server, with its error', async () => {
    await using rig = await startRig({
      onHello: (...[, hello]) => ({
        refuse: new FarmError('ERR_DUPLICATE_KEY', `the name ${hello.name} is taken`),
      }),
    });
    await expect(clientDial(rig.server.address.port, rig.tokens.client)).rejects.toMatchObject({
      code: 'ERR_DUPLICATE_KEY',
      message: containing('the name c-1 is taken'),
    });
  });

  const hello = JSON.stringify(CLIENT_HELLO);
  it.each<readonly [string, string | Uint8Array, RegExp]>([
    ['garbage', 'hello?', /not JSON/],
    ['half of it', hello.slice(0, -5), /not JSON/],
    ['a list', '[]', /not a record/],
    ['null', 'null', /not a record/],
    ['another op', '{"op":"welcome"}', /not a hello/],
    ['no protocol', '{"op":"hello"}', /protocol is not/],
    ['the hello of another role', JSON.stringify(WORKER_HELLO), /role is not client/],
    ['a binary frame', Buffer.from(hello), /not a JSON text frame/],
    ['no name', hello.replace('"c-1"', '""'), /name is empty/],
    ['a number as name', hello.replace('"c-1"', '7'), /name is not text/],
    ['a weight of 0', JSON.stringify({ ...CLIENT_HELLO, weight: 0 }), /weight is not above 0/],
    ['a weight in words', JSON.stringify({ ...CLIENT_HELLO, weight: 'all' }), /weight is not/],
    ['65 KiB', JSON.stringify({ ...CLIENT_HELLO, extra: 'x'.repeat(65_536) }), /at most 65536/],
  ])('is refused with its reason: %s', async (_what, frame, problem) => {
    await using rig = await startRig();
    const outcome = await rawAttempt(`${rig.url}/farm/v1/client`, rig.tokens.client, (ws) => {
      ws.send(frame);
    });
    expect(outcome.code).toBe(1008);
    expect(outcome.reason).toMatch(problem);
    const [refusal = '{}'] = outcome.frames;
    expect(JSON.parse(refusal)).toMatchObject({
      op: 'refusal',
      protocol: PROTOCOL_VERSION,
      version: '0.1.0',
      message: matching(problem),
    });
  });

  it.each([
    ['nthreads', 0],
    ['resources', [['GPU', -1]]],
    ['memoryLimitBytes', 'all'],
    ['pid', 1.5],
    ['nanny', 'yes'],
  ])('of a worker is refused where %s is %j', async (field, wrong) => {
    await using rig = await startRig();
    const outcome = await rawAttempt(`${rig.url}/farm/v1/worker`, rig.tokens.worker, (ws) => {
      ws.send(JSON.stringify({ ...WORKER_HELLO, [field]: wrong }));
    });
    expect(outcome.reason).toContain(`hello: ${field} `);
  });

  it('brings no field of its own making', async () => {
    const opened = Promise.withResolvers<ConnectionArguments>();
    await using rig = await startRig({ onConnection: (...args) => opened.resolve(args) });
    const rest = JSON.stringify(CLIENT_HELLO).slice(1);
    const odd = `{"__proto__":{"isAdmin":true},"isAdmin":true,${rest}`;
    const attempt = rawAttempt(`${rig.url}/farm/v1/client`, rig.tokens.client, (ws) =>
      ws.send(odd),
    );
    const [, hello, connection] = await opened.promise;
    expect(hello).toEqual(CLIENT_HELLO);
    expect('isAdmin' in hello).toBe(false);
    connection.terminate();
    await attempt;
  });

  it('cannot buffer more than a hello has, whatever a frame announces', async () => {
    await using rig = await startRig();
    const socket = await rawSocket(
      rig.server.address.port,
      upgradeRequest('/farm/v1/client', [`Authorization: Bearer ${rig.tokens.client}`]),
    );
    await once(socket, 'data');
    // A masked text frame that announces 32 MiB.
    socket.write(Buffer.from([0x81, 0xff, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]));
    const closed = untilSocketClosed(socket);
    let sent = 0;
    const chunk = Buffer.alloc(16_384);
    while (!socket.destroyed && sent < 32 * 2 ** 20) {
      sent += chunk.length;
      if (!socket.write(chunk)) await Promise.race([drained(socket), closed]);
    }
    await closed;
    expect(socket.bytesWritten).toBeLessThan(16 * 2 ** 20);
  });
});

describe('half-open connections', () => {
  it('end at the deadline while a live connection goes on', async () => {
    await using rig = await startRig({ handshakeMs: 300 });
    const [client, scheduler] = await Promise.all([rig.dial(), rig.accepted()]);
    const atClient = record(client);
    scheduler.listen({
      messages: (batch) => batch.forEach(() => scheduler.send(accepted(1, 1))),
      bulk() {},
      closed() {},
    });
    const { port } = rig.server.address;
    const authorization = `Authorization: Bearer ${rig.tokens.client}`;
    const openings = ['', 'GET /farm/v1/cli', upgradeRequest('/farm/v1/client', [authorization])];
    const sockets = await Promise.all(
      Array.from({ length: 99 }, (_, index) => rawSocket(port, openings[index % 3] ?? '')),
    );
    for (const socket of sockets) socket.resume();
    const isAllClosed = (): boolean => sockets.every((socket) => socket.closed);
    let rounds = 0;
    while (!isAllClosed()) {
      client.send(clientHeartbeat());
      rounds++;
      await atClient.until(() => atClient.heard.length === rounds);
    }
    expect(rounds).toBeGreaterThan(10);
    expect(atClient.closes).toEqual([]);
  });

  it('past their limit are refused with 503, and let in again later', async () => {
    await using rig = await startRig({ handshakesOpenMax: 4, handshakeMs: 60_000 });
    const { port } = rig.server.address;
    const sockets = await Promise.all(Array.from({ length: 4 }, () => rawSocket(port, '')));
    await expect(clientDial(port, rig.tokens.client)).rejects.toMatchObject({
      code: 'ERR_LIMIT',
      message: containing('4 handshakes are open already'),
    });
    for (const socket of sockets) socket.destroy();
    // The server notices in its own time.
    for (;;) {
      const attempt = await clientDial(port, rig.tokens.client).catch((error: unknown) => error);
      if (!(attempt instanceof FarmError)) break;
      expect(attempt.code).toBe('ERR_LIMIT');
    }
  });

  it('past twice their limit are not even read', async () => {
    await using rig = await startRig({ handshakesOpenMax: 2, handshakeMs: 60_000 });
    const { port } = rig.server.address;
    const first = await Promise.all(Array.from({ length: 4 }, () => rawSocket(port, '')));
    const extra = await rawSocket(port, '');
    extra.resume();
    await untilSocketClosed(extra);
    expect(first.every((socket) => !socket.destroyed)).toBe(true);
  });
});

describe('FarmServer', () => {
  const base = {
    tokens: {},
    identity: { id: 's', version: '0.1.0', heartbeatMs: 1 },
    onConnection() {},
  };

  it('says which port is busy', async () => {
    await using rig = await startRig();
    const { port } = rig.server.address;
    await expect(FarmServer.listen({ ...base, host: '127.0.0.1', port })).rejects.toMatchObject({
      code: 'ERR_ADDRESS',
      message: containing(`port ${port} is in use`),
    });
  });

  it.each([
    ['192.0.2.1', /192\.0\.2\.1 is not an address of this machine/],
    ['no-such-host.invalid', /host name no-such-host\.invalid is not known|cannot listen/],
  ])('says that it cannot listen on %s', async (host, message) => {
    await expect(FarmServer.listen({ ...base, host, port: 0 })).rejects.toMatchObject({
      code: 'ERR_ADDRESS',
      message: matching(message),
    });
  });

  it('answers HTTP requests on the same port, and 404 without a handler', async () => {
    const get = 'GET /status HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n';
    await using rig = await startRig({
      onRequest: (request, response) => response.end(`page ${request.url}`),
    });
    expect(await rawHttp(rig.server.address.port, get)).toContain('page /status');
    await using bare = await startRig();
    expect(await rawHttp(bare.server.address.port, get)).toMatch(/^HTTP\/1\.1 404 /);
  });

  it('ends its connections and frees its port when it closes', async () => {
    await using rig = await startRig();
    const client = record(await rig.dial());
    const half = await rawSocket(rig.server.address.port, 'GET /');
    half.resume();
    const halfClosed = untilSocketClosed(half);
    await rig.server.close();
    await rig.server.close();
    expect(await client.untilClosed()).toMatchObject({ code: 'ERR_CONNECTION_LOST' });
    await halfClosed;
    await using again = await FarmServer.listen({ ...base, ...rig.server.address });
    expect(again.address).toEqual(rig.server.address);
  });

  it('is not impressed by 2,000 port scans', async () => {
    await using rig = await startRig();
    const client = await rig.dial();
    record(client);
    const scheduler = record(await rig.accepted());
    for (let round = 0; round < 40; round++) {
      const sockets = await Promise.all(
        Array.from({ length: 50 }, () => rawSocket(rig.server.address.port, '')),
      );
      for (const socket of sockets) socket.destroy();
    }
    client.send(clientHeartbeat());
    await scheduler.until(() => scheduler.heard.length === 1);
    expect(scheduler.heard).toEqual([clientHeartbeat()]);
  });
});

describe('dial', () => {
  async function withServer(onSocket: Parameters<typeof createServer>[1]): Promise<{
    readonly port: number;
    readonly server: Server;
  }> {
    const server = createServer(onSocket).listen(0, '127.0.0.1');
    await once(server, 'listening');
    // SAFE: a TCP server that listens has an address of this form.
    return { port: (server.address() as AddressInfo).port, server };
  }

  it('says that nothing listens', async () => {
    const { port, server } = await withServer(() => {});
    server.close();
    await once(server, 'close');
    await expect(clientDial(port, makeToken())).rejects.toMatchObject({
      code: 'ERR_CONNECT',
      message: matching(
        `cannot connect to tcp://127.0.0.1:${port}: nothing listens on port ${port}`,
      ),
    });
  });

  it('gives up on a server that says nothing', async () => {
    const { port, server } = await withServer(() => {});
    const attempt = dial({
      address: { secure: false, host: '127.0.0.1', port },
      role: 'client',
      token: makeToken(),
      hello: CLIENT_HELLO,
      timeoutMs: 50,
    });
    await expect(attempt).rejects.toMatchObject({
      code: 'ERR_CONNECT',
      message: matching(/no answer within 50 ms/),
    });
    server.close();
  });

  it('stops when its signal says so', async () => {
    const { port, server } = await withServer(() => controller.abort(new Error('enough')));
    const controller = new AbortController();
    const options = {
      address: { secure: false, host: '127.0.0.1', port },
      role: 'client',
      token: makeToken(),
      hello: CLIENT_HELLO,
      timeoutMs: 60_000,
      signal: controller.signal,
    } as const;
    await expect(dial(options)).rejects.toThrow('enough');
    await expect(dial(options)).rejects.toThrow('enough');
    server.close();
  });

  it.each([
    ['an SSH server', 'SSH-2.0-OpenSSH_9.6\r\n', 'ERR_PROTOCOL', /not a farm process/],
    ['a web page', 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi', 'ERR_PROTOCOL', /HTTP 200/],
    ['a 404', 'HTTP/1.1 404 Nope\r\nContent-Length: 0\r\n\r\n', 'ERR_PROTOCOL', /HTTP 404 "Nope"/],
    ['a bare 401', 'HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n', 'ERR_UNAUTHORIZED', /HTTP 401/],
    [
      'JSON of something else',
      'HTTP/1.1 500 Oops\r\nContent-Length: 25\r\n\r\n{"code":500,"message":""}',
      'ERR_PROTOCOL',
      /HTTP 500/,
    ],
    ['a redirect', 'HTTP/1.1 302 Go\r\nLocation: /x\r\n\r\n', 'ERR_PROTOCOL', /HTTP 302/],
    ['a closed door', null, 'ERR_CONNECT', /closed the connection|hang up/],
  ])('names what it finds: %s', async (_what, answer, code, message) => {
    const { port, server } = await withServer((socket) => {
      socket.on('error', () => {});
      if (answer === null) socket.destroy();
      else socket.end(answer);
    });
    await expect(clientDial(port, makeToken())).rejects.toMatchObject({
      code,
      message: matching(message),
    });
    server.close();
  });

  it('refuses a token that cannot be one, without showing it', async () => {
    await expect(clientDial(1, 'a b\r\nX: y')).rejects.toMatchObject({
      code: 'ERR_UNAUTHORIZED',
      message: matching(/is not a valid token$/),
    });
  });
});

import { expect, test } from 'vitest';

import {
  FarmError,
  FarmServer,
  Replay,
  accepted,
  clientHeartbeat,
  dial,
  makeToken,
  reconnect,
  release,
} from '@farm/protocol';
import type { AcceptedConnections, DialedConnections, LivenessTimes } from '@farm/protocol';
import { decodeAck, encodeAck, isAck } from '../../src/codec/ack.ts';
import { Link } from './proxy.ts';
import { record } from './recorder.ts';
import { CLIENT_HELLO } from './rig.ts';
import { containing } from './texts.ts';

// Goal: a connection that loses its socket goes on over another one, and every frame of both
// directions arrives exactly once, in order. One that cannot go on says so.

type ServerEnd = AcceptedConnections['client'];
type ClientEnd = DialedConnections['client'];

interface Site extends AsyncDisposable {
  readonly link: Link;
  readonly client: ClientEnd;
  readonly server: ServerEnd;
  /** Events of the connections, in the order they came. */
  readonly events: string[];
  readonly heardByServer: readonly number[];
  readonly heardByClient: readonly number[];
  /** Requests of the whole bulk frames that the client got. */
  readonly bulks: readonly number[];
  /** Whether the server knows the session no more. */
  isForgotten: boolean;
}

async function open(
  options: { readonly leaseMs?: number; readonly liveness?: LivenessTimes } = {},
): Promise<Site> {
  const { leaseMs = 10_000, liveness } = options;
  const token = makeToken();
  const events: string[] = [];
  const heardByServer: number[] = [];
  const heardByClient: number[] = [];
  const bulks: number[] = [];
  const accepting = Promise.withResolvers<ServerEnd>();
  const state = { isForgotten: false, server: undefined as ServerEnd | undefined };
  const live = liveness === undefined ? {} : { liveness };
  const server = await FarmServer.listen({
    host: '127.0.0.1',
    port: 0,
    tokens: { client: token },
    identity: { id: 's-1', version: '0', heartbeatMs: 1_000, leaseMs },
    ...live,
    onHello: (...[role, hello]) => {
      const isBack = role === 'client' && hello.resume !== undefined && !state.isForgotten;
      return isBack && state.server !== undefined
        ? { resume: state.server }
        : { accept: true as const };
    },
    onConnection: (...[role, , connection]) => {
      if (role !== 'client') return;
      state.server = connection;
      connection.listen({
        messages: (batch) => {
          for (const message of batch) {
            if (message.op === 'release') heardByServer.push(message.ranges[0] ?? -1);
          }
        },
        bulk: () => {},
        closed: (why) => events.push(`server closed ${why.code}`),
        detached: () => events.push('server detached'),
        attached: () => events.push('server attached'),
      });
      accepting.resolve(connection);
    },
  });
  const link = await Link.to(server.address);
  const ending = new AbortController();
  const dialling = {
    address: { secure: false, host: '127.0.0.1', port: link.port },
    role: 'client',
    token,
    hello: CLIENT_HELLO,
    timeoutMs: 5_000,
    ...live,
  } as const;
  const { connection } = await dial(dialling);
  connection.listen({
    messages: (batch) => {
      for (const message of batch) {
        if (message.op === 'accepted') heardByClient.push(message.first);
      }
    },
    bulk: ({ request, totalBytes, bytes }) => {
      if (bytes.length === totalBytes) bulks.push(request);
    },
    closed: (why) => events.push(`client closed ${why.code}`),
    detached: () => {
      events.push('client detached');
      void reconnect(connection, {
        leaseMs,
        signal: ending.signal,
        dial: (signal) => dial({ ...dialling, signal, resume: connection }),
      });
    },
    attached: () => events.push('client attached'),
  });
  return {
    link,
    client: connection,
    server: await accepting.promise,
    events,
    heardByServer,
    heardByClient,
    bulks,
    get isForgotten() {
      return state.isForgotten;
    },
    set isForgotten(is) {
      state.isForgotten = is;
    },
    async [Symbol.asyncDispose]() {
      ending.abort(new FarmError('ERR_CLOSED', 'the test is over'));
      connection.terminate();
      await link[Symbol.asyncDispose]();
      await server.close();
    },
  };
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const endMs = performance.now() + 15_000;
  while (!condition()) {
    if (performance.now() > endMs) throw new Error(`never: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test('what was said before, during and after a cut arrives once, in order', async () => {
  await using site = await open();
  let said = 0;
  const talk = (count: number): void => {
    for (let left = count; left > 0; left--) {
      site.client.send(release([said, 1]));
      site.server.send(accepted(said, 1));
      said += 1;
    }
  };
  for (let cut = 1; cut <= 5; cut++) {
    talk(100);
    // Some of it is on its way when the sockets break.
    if (cut % 2 === 0) await new Promise(setImmediate);
    site.link.cut();
    talk(100);
    const count = (what: string): number => site.events.filter((event) => event === what).length;
    await until('both notice', () => {
      return count('client detached') === cut && count('server detached') === cut;
    });
    talk(100);
    site.link.mend();
    await until('both are back', () => {
      return count('client attached') === cut && count('server attached') === cut;
    });
  }
  talk(100);
  await until('all arrived', () => {
    return site.heardByServer.length === said && site.heardByClient.length === said;
  });
  const all = Array.from({ length: said }, (_, index) => index);
  expect(site.heardByServer).toEqual(all);
  expect(site.heardByClient).toEqual(all);
  expect(site.events.filter((event) => event.includes('closed'))).toEqual([]);
});

test('bulk frames are sent again too', async () => {
  await using site = await open();
  const bytes = new Uint8Array(500_000).fill(3);
  site.link.silence();
  const count = 8;
  for (let request = 0; request < count; request++) {
    site.server.sendBulk({ request, totalBytes: bytes.length, offset: 0, bytes });
    site.server.send(accepted(request, 1));
  }
  site.link.mend();
  await until('all arrived', () => site.heardByClient.length === count);
  expect(site.bulks).toEqual(Array.from({ length: count }, (_, request) => request));
});

test('the side that was called may not have noticed yet', async () => {
  await using site = await open({ liveness: { pingMs: 50, deadMs: 60_000 } });
  site.link.cutFar();
  site.client.send(release([7, 1]));
  site.server.send(accepted(8, 1));
  await until('both heard', () => {
    return site.heardByServer.length === 1 && site.heardByClient.length === 1;
  });
  expect(site.events).toEqual(['client detached', 'client attached']);
});

test('a silent cut is found by the liveness watch, and survived', async () => {
  await using site = await open({ liveness: { pingMs: 50, deadMs: 200 } });
  site.link.silence();
  await until('both notice', () => {
    return site.events.includes('client detached') && site.events.includes('server detached');
  });
  site.client.send(release([1, 1]));
  site.link.mend();
  await until('it arrives', () => site.heardByServer.length === 1);
  expect(site.events).toContain('server attached');
});

test('a session that the other side has forgotten is over', async () => {
  await using site = await open();
  site.isForgotten = true;
  site.link.cut();
  await until('the client notices', () => site.events.includes('client detached'));
  site.link.mend();
  await until('it ends', () => site.events.includes('client closed ERR_CONNECTION_LOST'));
  expect(site.events).not.toContain('client attached');
});

test('it is over at the end of the lease, and nothing is kept', async () => {
  await using site = await open({ leaseMs: 300 });
  site.link.cut();
  await until('it ends', () => site.events.includes('client closed ERR_CONNECTION_LOST'));
  expect(site.client.bufferedBytes).toBe(0);
});

test('closing while there is no socket ends it at once', async () => {
  await using site = await open();
  site.link.cut();
  await until('both notice', () => {
    return site.events.includes('client detached') && site.events.includes('server detached');
  });
  await site.client.close();
  await site.server.close();
  await until('both end', () => {
    return (
      site.events.includes('client closed ERR_CLOSED') &&
      site.events.includes('server closed ERR_CLOSED')
    );
  });
  expect(site.events).toHaveLength(4);
});

test('a close is a close, and no cut', async () => {
  await using site = await open();
  await site.server.close();
  await until('both end', () => site.events.length === 2);
  expect(site.events.toSorted()).toEqual([
    'client closed ERR_CONNECTION_LOST',
    'server closed ERR_CLOSED',
  ]);
});

test('a peer that says more has arrived than was sent is cut off', async () => {
  const token = makeToken();
  const accepting = Promise.withResolvers<ServerEnd>();
  await using server = await FarmServer.listen({
    host: '127.0.0.1',
    port: 0,
    tokens: { client: token },
    identity: { id: 's', version: '0', heartbeatMs: 1_000 },
    onConnection: (...[role, , connection]) => {
      if (role === 'client') accepting.resolve(connection);
    },
  });
  const { WebSocket } = await import('ws');
  const ws = new WebSocket(`ws://127.0.0.1:${server.address.port}/farm/v1/client`, {
    headers: { authorization: `Bearer ${token}` },
  });
  ws.on('open', () => ws.send(JSON.stringify(CLIENT_HELLO)));
  ws.once('message', () => ws.send(encodeAck(5)));
  const ears = record(await accepting.promise);
  expect(await ears.untilClosed()).toMatchObject({
    code: 'ERR_PROTOCOL',
    message: containing('5 frames are acknowledged'),
  });
});

test('what is kept for a peer is bounded', async () => {
  await using site = await open();
  site.link.cut();
  await until('the server notices', () => site.events.includes('server detached'));
  const bytes = new Uint8Array(1_048_576);
  for (let request = 0; request < 300; request++) {
    site.server.sendBulk({ request, totalBytes: bytes.length, offset: 0, bytes });
  }
  await until('it ends', () => site.events.includes('server closed ERR_LIMIT'));
  expect(site.server.bufferedBytes).toBe(0);
});

test('Replay keeps what was not acknowledged, in order', () => {
  const replay = new Replay<string>();
  for (const frame of ['a', 'b', 'c', 'd']) replay.keep(frame, 10);
  expect([replay.sent, replay.bytes]).toEqual([4, 40]);
  replay.acknowledge(2);
  expect([replay.unacknowledged(), replay.bytes]).toEqual([['c', 'd'], 20]);
  expect([1, 2, 4, 5, 2.5].map((count) => replay.isPossible(count))).toEqual([
    false,
    true,
    true,
    false,
    false,
  ]);
  replay.keep('e', 10);
  replay.acknowledge(4);
  expect([replay.unacknowledged(), replay.sent]).toEqual([['e'], 5]);
  replay.arrived();
  expect(replay.received).toBe(1);
});

test('acknowledgements survive the wire, and nothing else is one', () => {
  for (const count of [0, 1, 2 ** 32, Number.MAX_SAFE_INTEGER]) {
    expect(isAck(encodeAck(count))).toBe(true);
    expect(decodeAck(encodeAck(count))).toBe(count);
  }
  const bad = [new Uint8Array([2]), new Uint8Array(16).fill(2), new Uint8Array(16).fill(255)];
  for (const frame of bad) expect(() => decodeAck(frame)).toThrow('malformed');
  expect(clientHeartbeat().op).toBe('client-heartbeat');
});

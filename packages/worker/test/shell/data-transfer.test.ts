import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  dial,
  dialDataStream,
  formatAddress,
  LIMITS,
  parseAddress,
  PROTOCOL_VERSION,
  silentLogger,
  type BulkFrame,
  type Connection,
  type DataFailed,
  type GetData,
  type OpenDataStream,
  type PeerMessage,
  getData,
} from '@farm/protocol';
import { afterEach, expect, test } from 'vitest';

import { DataServer } from '../../src/shell/data/data-server.ts';
import type { StreamReader } from '../../src/shell/data/data-stream.ts';
import { InputFetcher } from '../../src/shell/data/input-fetcher.ts';
import { serveData } from '../../src/shell/data/serve-data.ts';
import { Store } from '../../src/shell/data/store.ts';
import { runInputs } from '../../src/shell/run-inputs.ts';

const TOKEN = 'worker-token';
const CLOSING: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const close of CLOSING.splice(0)) await close();
});

function someBytes(sizeBytes: number): Uint8Array {
  const bytes = new Uint8Array(sizeBytes);
  for (let index = 0; index < sizeBytes; index += 97) bytes[index] = index % 251;
  return bytes;
}

async function aHolder(values: Readonly<Record<number, Uint8Array>>): Promise<DataServer> {
  const store = new Store();
  for (const [task, value] of Object.entries(values)) store.set(Number(task), value);
  return aServer(store);
}

async function aServer(store: Store): Promise<DataServer> {
  const server = await DataServer.listen({
    host: '127.0.0.1',
    ports: [0],
    contactHost: '127.0.0.1',
    token: TOKEN,
    workerName: 'holder',
    version: '0.0.0',
    id: 'holder-1',
    store: () => store,
    logger: silentLogger,
  });
  CLOSING.push(() => server.close());
  return server;
}

async function dialPeer(
  address: string,
  token: string = TOKEN,
): Promise<Connection<PeerMessage, PeerMessage>> {
  const { connection } = await dial({
    address: parseAddress(address, { defaultPort: 1 }),
    role: 'peer',
    token,
    timeoutMs: 5_000,
    hello: {
      op: 'hello',
      role: 'peer',
      protocol: PROTOCOL_VERSION,
      version: '0.0.0',
      incarnation: 'i',
      name: 'asker',
    },
  });
  return connection;
}

async function dialStream(
  address: string,
  reader: StreamReader,
  token: string = TOKEN,
): Promise<OpenDataStream> {
  return dialDataStream({
    address: parseAddress(address, { defaultPort: 1 }),
    token,
    timeoutMs: 5_000,
    isLocal: true,
    ...reader,
  });
}

interface Asker {
  readonly fetcher: InputFetcher;
  readonly dialled: string[];
  readonly relayAsked: GetData[];
}

/** A fetcher whose relay serves `relayed`, or nothing. */
function anAsker(
  relayed: Store = new Store(),
  fetchesMax: number = 50,
  checks: boolean = false,
): Asker {
  const dialled: string[] = [];
  const relayAsked: GetData[] = [];
  const fetcher: InputFetcher = new InputFetcher({
    name: 'asker',
    dialPeer: (address) => {
      dialled.push(address);
      return dialPeer(address);
    },
    dialStream: (address, reader) => {
      dialled.push(address);
      return dialStream(address, reader);
    },
    needsChecks: () => checks,
    askRelay: (request) => {
      relayAsked.push(request);
      const outlet = {
        send: (message: DataFailed) => fetcher.relayed.fail(message.request, message.failure),
        sendBulk: (frame: BulkFrame) => fetcher.relayed.answer(frame),
      };
      setImmediate(() => serveData(request, relayed, outlet, 'relay'));
    },
    fetchesMax,
  });
  CLOSING.push(() => fetcher.close());
  return { fetcher, dialled, relayAsked };
}

interface WayOptions {
  /** Each connection breaks off after so many bytes towards the asker. */
  readonly cutAfter?: number;
  /** So many connections get one wrong byte, a megabyte and a half behind their start. */
  readonly damages?: number;
}

/** A way to a holder on which things go wrong. */
async function aWay(holder: DataServer, options: WayOptions = {}): Promise<Way> {
  const { cutAfter = Infinity } = options;
  let damages = options.damages ?? 0;
  const { host, port } = parseAddress(holder.address, { defaultPort: 1 });
  const sockets = new Set<Socket>();
  const way = { address: '', bytes: 0 };
  const server = createServer((near) => {
    const far = connect({ host, port });
    let bytes = 0;
    const isDamaging = damages > 0;
    damages -= 1;
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        near.destroy();
        far.destroy();
      });
    }
    near.on('data', (chunk) => far.write(chunk));
    far.on('data', (chunk) => {
      const at = 1_500_000 - bytes;
      if (isDamaging && at >= 0 && at < chunk.byteLength) chunk[at] = (chunk[at] ?? 0) ^ 0x10;
      bytes += chunk.byteLength;
      way.bytes += chunk.byteLength;
      if (bytes >= cutAfter) near.end(chunk);
      else near.write(chunk);
      if (bytes >= cutAfter) far.destroy();
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const address = server.address();
  if (typeof address === 'object' && address !== null) {
    way.address = formatAddress({ secure: false, host: '127.0.0.1', port: address.port });
  }
  CLOSING.push(async () => {
    for (const socket of sockets) socket.destroy();
    await new Promise((closed) => server.close(closed));
  });
  return way;
}

interface Way {
  readonly address: string;
  /** That went towards the asker. */
  readonly bytes: number;
}

test('a value of 20 MB comes over whole, beside a small one', async () => {
  const value = someBytes(20_000_001);
  const holder = await aHolder({ 1: value, 2: someBytes(10) });
  const { fetcher, dialled, relayAsked } = anAsker();
  const [large, small] = await Promise.all([
    fetcher.fetch(1, value.byteLength, [holder.address]),
    fetcher.fetch(2, 10, [holder.address]),
  ]);
  expect(Buffer.compare(large, value)).toBe(0);
  expect(small).toEqual(someBytes(10));
  expect(relayAsked).toEqual([]);
  // Both kinds of connections are used again.
  await fetcher.fetch(1, value.byteLength, [holder.address]);
  await fetcher.fetch(2, 10, [holder.address]);
  expect(dialled).toEqual([holder.address, holder.address]);
});

test.each([1, 1_048_577, 2_097_152, 5_000_000])(
  'a value of %d bytes comes over whole with checksums',
  async (sizeBytes) => {
    const value = someBytes(sizeBytes);
    const holder = await aHolder({ 1: value });
    const { fetcher } = anAsker(new Store(), 50, true);
    const fetched = await fetcher.fetch(1, sizeBytes, [holder.address]);
    expect(Buffer.compare(fetched, value)).toBe(0);
  },
);

test.each([
  [1_048_576, false],
  [5_000_000, false],
  [5_000_000, true],
])(
  'a value of %d bytes comes from shared memory into shared memory (checksums: %s)',
  async (sizeBytes, checks) => {
    const value = someBytes(sizeBytes);
    const store = new Store();
    store.set(1, value);
    store.share(1);
    const holder = await aServer(store);
    const { fetcher } = anAsker(new Store(), 50, checks);
    const fetched = await fetcher.fetch(1, value.byteLength, [holder.address], true);
    expect(fetched.buffer).toBeInstanceOf(SharedArrayBuffer);
    expect(Buffer.compare(fetched, value)).toBe(0);
  },
);

test('several large values come from one holder at once', async () => {
  const values = { 1: someBytes(3_000_000), 2: someBytes(4_000_000), 3: someBytes(5_000_000) };
  const holder = await aHolder(values);
  const { fetcher } = anAsker();
  const fetched = await Promise.all(
    Object.entries(values).map(([task, value]) => {
      return fetcher.fetch(Number(task), value.byteLength, [holder.address]);
    }),
  );
  for (const [index, value] of Object.values(values).entries()) {
    expect(Buffer.compare(fetched[index] ?? new Uint8Array(), value)).toBe(0);
  }
});

test.each([false, true])(
  'a spilled value is served from its file (checksums: %s)',
  async (checks) => {
    const directory = await mkdtemp(join(tmpdir(), 'farm-spill-'));
    CLOSING.push(() => rm(directory, { recursive: true, force: true }));
    const value = someBytes(7_000_003);
    const store = new Store(directory);
    store.set(1, value);
    await store.spill(1);
    store.evict(1);
    const holder = await aServer(store);
    const { fetcher } = anAsker(new Store(), 50, checks);
    const fetched = await fetcher.fetch(1, value.byteLength, [holder.address]);
    expect(Buffer.compare(fetched, value)).toBe(0);
    expect(store.get(1)).toBeUndefined();
  },
);

test('where a transfer breaks off, the next holder goes on with the rest', async () => {
  const value = someBytes(12_000_001);
  const holder = await aHolder({ 1: value });
  const dying = await aWay(holder, { cutAfter: 4_000_000 });
  const other = await aWay(holder);
  const { fetcher } = anAsker();
  const fetched = await fetcher.fetch(1, value.byteLength, [dying.address, other.address]);
  expect(Buffer.compare(fetched, value)).toBe(0);
  expect(dying.bytes).toBeGreaterThanOrEqual(8_000_000);
  expect(other.bytes).toBeLessThan(6_000_000);
});

test('where all holders break off, the relay goes on with the rest', async () => {
  const value = someBytes(5_000_000);
  const holder = await aHolder({ 1: value });
  const dying = await aWay(holder, { cutAfter: 2_000_000 });
  const relayed = new Store();
  relayed.set(1, value);
  const { fetcher, relayAsked } = anAsker(relayed);
  const fetched = await fetcher.fetch(1, value.byteLength, [dying.address]);
  expect(Buffer.compare(fetched, value)).toBe(0);
  expect(relayAsked[0]?.offset).toBeGreaterThan(3_000_000);
});

test('what arrives damaged is asked for once more', async () => {
  const value = someBytes(6_000_000);
  const way = await aWay(await aHolder({ 1: value }), { damages: 1 });
  const { fetcher, relayAsked } = anAsker(new Store(), 50, true);
  const fetched = await fetcher.fetch(1, value.byteLength, [way.address]);
  expect(Buffer.compare(fetched, value)).toBe(0);
  expect(relayAsked).toEqual([]);
});

test('where it arrives damaged again, the next holder is asked, and the error names it', async () => {
  const value = someBytes(6_000_000);
  const holder = await aHolder({ 1: value });
  const bad = await aWay(holder, { damages: 4 });
  const { fetcher } = anAsker(new Store(), 50, true);
  const fetched = await fetcher.fetch(1, value.byteLength, [bad.address, holder.address]);
  expect(Buffer.compare(fetched, value)).toBe(0);
  await expect(fetcher.fetch(1, value.byteLength, [bad.address])).rejects.toThrow(
    new RegExp(`${bad.address} to asker: bytes from \\d+ on arrived damaged`),
  );
});

test('where no peer has it, the scheduler relays it', async () => {
  const value = someBytes(3 * LIMITS.bulkChunkBytes);
  const relayed = new Store();
  relayed.set(1, value);
  const holder = await aHolder({});
  const { fetcher, relayAsked } = anAsker(relayed);
  const fetched = await fetcher.fetch(1, value.byteLength, [holder.address]);
  expect(Buffer.compare(fetched, value)).toBe(0);
  expect(relayAsked.map(({ offset }) => offset)).toEqual([
    0,
    LIMITS.bulkChunkBytes,
    2 * LIMITS.bulkChunkBytes,
  ]);
});

test('where nobody has it, the failure says what each answered', async () => {
  const holder = await aHolder({});
  const { fetcher } = anAsker();
  await expect(fetcher.fetch(7, 10, [holder.address])).rejects.toThrow(
    /task 7: .*holder does not hold its result.*relayed: .*does not hold/,
  );
});

test('a holder whose value has another size is passed over', async () => {
  const wrong = await aHolder({ 1: someBytes(11) });
  const right = await aHolder({ 1: someBytes(10) });
  const { fetcher } = anAsker();
  expect(await fetcher.fetch(1, 10, [wrong.address, right.address])).toEqual(someBytes(10));
});

test('a peer that cannot be reached is not dialled again for a while', async () => {
  const gone = await aHolder({});
  await gone.close();
  const relayed = new Store();
  relayed.set(1, someBytes(10));
  const { fetcher, dialled } = anAsker(relayed);
  await fetcher.fetch(1, 10, [gone.address]);
  await fetcher.fetch(1, 10, [gone.address]);
  expect(dialled).toEqual([gone.address]);
});

test('no more inputs than allowed are on their way at once', async () => {
  const relayed = new Store();
  relayed.set(1, someBytes(10));
  const { fetcher } = anAsker(relayed, 2);
  let most = 0;
  const look = setInterval(() => (most = Math.max(most, fetcher.relayed.size)), 0);
  await Promise.all(Array.from({ length: 20 }, () => fetcher.fetch(1, 10, [])));
  clearInterval(look);
  expect(most).toBeLessThanOrEqual(2);
});

test('no more than 64 MiB are asked of the relay at once', async () => {
  const relayed = new Store();
  const value = someBytes(9 * LIMITS.bulkChunkBytes);
  const tasks = Array.from({ length: 20 }, (_, task) => task);
  for (const task of tasks) relayed.set(task, value.slice());
  const { fetcher } = anAsker(relayed);
  const all = Promise.all(tasks.map((task) => fetcher.fetch(task, value.byteLength, [])));
  let most = 0;
  const look = setInterval(() => (most = Math.max(most, fetcher.relayed.size)), 0);
  for (const fetched of await all) expect(Buffer.compare(fetched, value)).toBe(0);
  clearInterval(look);
  expect(most).toBeGreaterThan(8);
  expect(most).toBeLessThanOrEqual(64);
});

test('a peer without the token is refused', async () => {
  const holder = await aHolder({ 1: someBytes(10) });
  const refused = { code: 'ERR_UNAUTHORIZED' };
  await expect(dialPeer(holder.address, 'guess')).rejects.toMatchObject(refused);
  await expect(dialStream(holder.address, { onBytes: () => {} }, 'guess')).rejects.toMatchObject(
    refused,
  );
});

test('after close everything fails with ERR_CLOSED', async () => {
  const holder = await aHolder({ 1: someBytes(10) });
  const { fetcher } = anAsker();
  await fetcher.fetch(1, 10, [holder.address]);
  await fetcher.close();
  await expect(fetcher.fetch(1, 10, [holder.address])).rejects.toMatchObject({
    code: 'ERR_CLOSED',
  });
});

test('a value that was sent to somebody is not moved into the run it is there for', async () => {
  const [asked, streamed, checked, own] = [1, 2, 3, 4];
  const store = new Store();
  for (const task of [asked, streamed, checked, own]) store.set(task, someBytes(2_000_000));
  // Where it is sent from nobody tells when the kernel has all of it.
  const outlet = { send: () => {}, sendBulk: () => {} };
  serveData(getData(1, asked, 0, 1_000), store, outlet, 'holder');
  const { address } = await aServer(store);
  await anAsker().fetcher.fetch(streamed, 2_000_000, [address]);
  await store.read(checked, 0, 1_000);
  const tasks = [asked, streamed, checked, own];
  const { movable } = runInputs(store, {
    key: 'run',
    tasks,
    moved: tasks,
    shares: false,
    maps: false,
  });
  expect([...(movable ?? [])].map((value) => value === store.get(own))).toEqual([true]);
  expect(tasks.map((task) => store.mayMove(task))).toEqual([false, false, false, true]);
});

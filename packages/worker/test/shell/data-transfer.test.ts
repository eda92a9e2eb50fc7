import {
  dial,
  FarmServer,
  formatAddress,
  LIMITS,
  parseAddress,
  PROTOCOL_VERSION,
  silentLogger,
  type BulkFrame,
  type Connection,
  type DataFailed,
  type GetData,
  type PeerMessage,
} from '@farm/protocol';
import { afterEach, expect, test } from 'vitest';

import { DataServer } from '../../src/shell/data/data-server.ts';
import { InputFetcher } from '../../src/shell/data/input-fetcher.ts';
import { serveData } from '../../src/shell/data/serve-data.ts';
import { Store } from '../../src/shell/data/store.ts';

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

interface Asker {
  readonly fetcher: InputFetcher;
  readonly dialled: string[];
  readonly relayAsked: GetData[];
}

/** A fetcher whose relay serves `relayed`, or nothing. */
function anAsker(relayed: Store = new Store(), fetchesMax: number = 50): Asker {
  const dialled: string[] = [];
  const relayAsked: GetData[] = [];
  const fetcher: InputFetcher = new InputFetcher({
    dialPeer: (address) => {
      dialled.push(address);
      return dialPeer(address);
    },
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

/** A peer that answers a number of chunks and then breaks off. */
async function aDyingPeer(value: Uint8Array, chunks: number): Promise<string> {
  let left = chunks;
  const server = await FarmServer.listen({
    host: '127.0.0.1',
    port: 0,
    tokens: { peer: TOKEN },
    identity: { id: 'dying', version: '0.0.0', heartbeatMs: 0 },
    onConnection: (...args) => {
      const [role, , connection] = args;
      if (role !== 'peer') return;
      const store = new Store();
      store.set(1, value);
      connection.listen({
        messages: (batch) => {
          for (const message of batch) {
            if (message.op !== 'get-data') continue;
            if (left === 0) connection.terminate();
            else serveData(message, store, connection, 'dying');
            left = Math.max(0, left - 1);
          }
        },
        bulk: () => {},
        closed: () => {},
      });
    },
  });
  CLOSING.push(() => server.close());
  return formatAddress({ secure: false, ...server.address });
}

test('a value of 20 MB comes over whole, in chunks, on one connection', async () => {
  const value = someBytes(20_000_001);
  const holder = await aHolder({ 1: value, 2: someBytes(10) });
  const { fetcher, dialled, relayAsked } = anAsker();
  const [large, small] = await Promise.all([
    fetcher.fetch(1, value.byteLength, [holder.address]),
    fetcher.fetch(2, 10, [holder.address]),
  ]);
  expect(Buffer.compare(large, value)).toBe(0);
  expect(small).toEqual(someBytes(10));
  expect(dialled).toEqual([holder.address]);
  expect(relayAsked).toEqual([]);
});

test('a peer that dies in the middle of a transfer is replaced by the next holder', async () => {
  const value = someBytes(10 * LIMITS.bulkChunkBytes + 1);
  const dying = await aDyingPeer(value, 3);
  const holder = await aHolder({ 1: value });
  const { fetcher } = anAsker();
  const fetched = await fetcher.fetch(1, value.byteLength, [dying, holder.address]);
  expect(Buffer.compare(fetched, value)).toBe(0);
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

test('a peer without the token is refused', async () => {
  const holder = await aHolder({ 1: someBytes(10) });
  await expect(dialPeer(holder.address, 'guess')).rejects.toMatchObject({
    code: 'ERR_UNAUTHORIZED',
  });
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

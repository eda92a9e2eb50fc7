/** `Client` over real sockets: the scheduler's end is a real server with a fake scheduler behind. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect, promisify } from 'node:util';

import { FarmServer, PROTOCOL_VERSION, writeSchedulerFile } from '@farm/protocol';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { Client } from '../src/index.ts';
import { FakeScheduler, WORKER } from './fake-scheduler.ts';

const TOKENS = { client: 'c'.repeat(43), worker: 'w'.repeat(43) };

let server: FarmServer;
let connected: PromiseWithResolvers<FakeScheduler>;
let address: string;
let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'farm-client-'));
  connected = Promise.withResolvers();
  server = await FarmServer.listen({
    host: '127.0.0.1',
    port: 0,
    tokens: TOKENS,
    identity: { id: 'fake', version: '0.0.0', heartbeatMs: 60_000 },
    onConnection: (...args) => {
      if (args[0] === 'client') connected.resolve(new FakeScheduler(args[2]));
    },
  });
  address = `tcp://127.0.0.1:${server.address.port}`;
});

afterEach(async () => {
  await server.close();
  await rm(directory, { recursive: true, force: true });
});

async function writeFileFor(path: string): Promise<void> {
  await writeSchedulerFile(path, {
    id: 'fake',
    address,
    services: {},
    startedMs: Date.now(),
    protocol: PROTOCOL_VERSION,
    pid: process.pid,
    host: 'here',
    tokens: TOKENS,
  });
}

describe('connecting', () => {
  test('by address; operations may begin at once', async () => {
    await using client = new Client(address, { token: TOKENS.client });
    const events: string[] = [];
    client.on('connected', () => events.push('connected'));
    client.on('closed', (why) => events.push(why.code));
    expect(String(client)).toBe(`<Client: '${address}' not connected>`);
    const future = client.submit((x: number) => x, 1);
    const scheduler = await connected.promise;
    await scheduler.submitted(1);
    scheduler.finish([[1, 'here']]);
    expect(await future.result()).toBe('here');
    await client.ready();
    await client.close();
    expect(events).toEqual(['connected', 'ERR_CLOSED']);
    expect(String(client)).toBe(`<Client: '${address}' closed>`);
  });

  test('by a scheduler file that is not there yet', async () => {
    const schedulerFile = join(directory, 'scheduler.json');
    await using client = new Client({ schedulerFile });
    const ready = client.ready();
    await writeFileFor(schedulerFile);
    await ready;
    expect(await client.waitForWorkers(1)).toBe(1);
  });

  test('by a cluster object', async () => {
    const schedulerFile = join(directory, 'scheduler.json');
    await writeFileFor(schedulerFile);
    let isClosed = false;
    const cluster = {
      address,
      schedulerFile,
      close: () => {
        isClosed = true;
        return Promise.resolve();
      },
    };
    await using client = new Client(cluster);
    await client.ready();
    await client.close();
    // Only a cluster that the client started ends with it.
    expect(isClosed).toBe(false);
  });

  test.each<[string, () => Client, string, RegExp]>([
    [
      'a wrong token',
      () => new Client(address, { token: 'x'.repeat(43) }),
      'ERR_UNAUTHORIZED',
      /./,
    ],
    [
      'nobody there',
      () => new Client('127.0.0.1:1', { token: 'x', timeoutMs: 50 }),
      'ERR_CONNECT',
      /127\.0\.0\.1:1/,
    ],
    [
      'no scheduler file in time',
      () => new Client({ schedulerFile: join(directory, 'absent.json'), timeoutMs: 50 }),
      'ERR_SCHEDULER_FILE',
      /absent\.json/,
    ],
  ])('%s rejects everything that waits', async (_name, make, code, message) => {
    await using client = make();
    const [future, other] = [client.submit(() => 1), client.submit(() => 2)];
    await expect(future.result()).rejects.toThrow(message);
    await expect(other.result()).rejects.toMatchObject({ code });
    await expect(client.ready()).rejects.toMatchObject({ code });
    await expect(client.schedulerInfo()).rejects.toMatchObject({ code });
  });

  test('where nobody answers it says in parentheses which file the address is of', async () => {
    const schedulerFile = join(directory, 'scheduler.json');
    await writeFileFor(schedulerFile);
    await server.close();
    await using client = new Client({ schedulerFile, timeoutMs: 200 });
    await expect(client.ready()).rejects.toThrow(
      /and on this port\? \(scheduler file .*scheduler\.json, written 0 min ago(; tried \d+ times)?\)$/,
    );
  });

  test.each<[string, unknown, unknown, RegExp]>([
    ['a scheme', 'http://a:1', undefined, /http/],
    ['a number', 8786, undefined, /8786 is no address/],
    ['a misspelt option', { scheduler_file: 'a' }, undefined, /did you mean schedulerFile\?/],
    ['an empty token', 'a:1', { token: '' }, /token is an empty text/],
    ['a negative timeout', 'a:1', { timeoutMs: -1 }, /timeoutMs/],
    ['a weight of nothing', 'a:1', { weight: 0 }, /weight is 0/],
  ])('refuses %s', (_name, target, options, message) => {
    // SAFE: the test is about values that the types do not allow.
    expect(() => new Client(target as never, options as never)).toThrow(message);
  });

  test('closing while it waits ends the wait', async () => {
    const client = new Client({ schedulerFile: join(directory, 'never.json') });
    const ready = client.ready().catch((error: unknown) => error);
    await client.close();
    expect(await ready).toMatchObject({ code: 'ERR_CLOSED' });
  });
});

describe('questions', () => {
  test('prints itself as Dask does', async () => {
    await using client = new Client(address, { token: TOKENS.client });
    const scheduler = await connected.promise;
    scheduler.workers = [WORKER, { ...WORKER, name: 'w-1', nthreads: 4 }];
    await client.schedulerInfo();
    const shown = `<Client: '${address}' processes=2 threads=6, memory=2.00 GiB>`;
    expect(String(client)).toBe(shown);
    expect(inspect(client)).toBe(shown);
  });

  test('waitForWorkers waits, no longer than timeoutMs', async () => {
    await using client = new Client(address, { token: TOKENS.client });
    await expect(client.waitForWorkers(2, { timeoutMs: 20 })).rejects.toThrow(
      /2 workers did not connect within 20 ms/,
    );
    await expect(client.waitForWorkers(Number.NaN)).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
  });

  test('a refusal is an error', async () => {
    await using client = new Client(address, { token: TOKENS.client });
    await expect(client.explain('nothing')).rejects.toThrow('no task nothing');
    await expect(client.story('nothing')).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
  });
});

describe('the end', () => {
  test('shutdown resolves when the scheduler has gone', async () => {
    await using client = new Client(address, { token: TOKENS.client });
    await client.shutdown();
    const scheduler = await connected.promise;
    expect(scheduler.heard('shutdown')).toHaveLength(1);
    expect(() => client.submit(() => 1)).toThrow(
      expect.objectContaining({ code: 'ERR_CONNECTION_LOST' }),
    );
  });

  test('a program ends by itself with its client open', async () => {
    const source = new URL('../src/index.ts', import.meta.url).href;
    const script = `
      import { Client } from '${source}';
      const client = new Client('${address}', { token: '${TOKENS.client}' });
      client.submit(() => 1);
      await client.ready();
      console.log(String(client));
    `;
    const args = ['--conditions=@farm/source', '--input-type=module', '-e', script];
    const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 20_000 });
    expect(stdout).toBe(`<Client: '${address}' processes=1 threads=2, memory=1.00 GiB>\n`);
  });

  test('a program stays alive while it waits for a result', async () => {
    const source = new URL('../src/index.ts', import.meta.url).href;
    const script = `
      import { Client } from '${source}';
      const client = new Client('${address}', { token: '${TOKENS.client}' });
      await client.ready();
      // A process with nothing to wait for is gone before this comes.
      setTimeout(() => client.explain('any').catch(() => {}), 50).unref();
      console.log(await client.submit(() => 1).result());
    `;
    const args = ['--conditions=@farm/source', '--input-type=module', '-e', script];
    const program = promisify(execFile)(process.execPath, args, { timeout: 20_000 });
    const scheduler = await connected.promise;
    const isAsked = (): boolean => scheduler.heard('ask').some((ask) => ask.method === 'explain');
    await Promise.race([scheduler.until(isAsked), program]);
    scheduler.finish([[1, 'late']]);
    expect((await program).stdout).toBe('late\n');
  });
});

import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { getData, runDependency, stop } from '@farm/protocol';
import { decodeValue, encodeValue } from '@farm/protocol/value';
import { afterEach, beforeEach, expect, test } from 'vitest';

import { Worker, type WorkerOptions } from '../../src/index.ts';
import { aFunction, FakeScheduler, runsOf, until, type JoinedWorker } from './fake-scheduler.ts';

let directory: string;
let scheduler: FakeScheduler;
const workers: Worker[] = [];

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'farm-worker-test-'));
  scheduler = await FakeScheduler.listen();
});

afterEach(async () => {
  await Promise.all(workers.splice(0).map((worker) => worker.close()));
  await scheduler.close();
  await rm(directory, { recursive: true, force: true });
});

function aWorker(options: Partial<WorkerOptions> = {}): Worker {
  const worker = new Worker({
    nthreads: 1,
    localDirectory: join(directory, 'local'),
    deathTimeoutMs: 10_000,
    ...(options.schedulerFile === undefined
      ? { address: scheduler.address, token: scheduler.token }
      : {}),
    ...options,
  });
  workers.push(worker);
  return worker;
}

async function aJoinedWorker(options: Partial<WorkerOptions> = {}): Promise<JoinedWorker> {
  await aWorker(options).start();
  return scheduler.joined();
}

test('says who it is, and then how it is', async () => {
  const joined = await aJoinedWorker({
    name: 'w-1',
    nthreads: 3,
    resources: [['GPU', 2]],
    memoryLimitBytes: 1e9,
  });
  expect(joined.hello).toMatchObject({
    name: 'w-1',
    nthreads: 3,
    resources: [['GPU', 2]],
    memoryLimitBytes: 1e9,
    pid: process.pid,
    nanny: false,
  });
  expect(joined.hello.address).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+$/);
  const { metrics } = await joined.take('worker-heartbeat');
  expect(metrics.rssBytes).toBeGreaterThan(1e6);
});

test('runs functions in processes where it was started so', async () => {
  const joined = await aJoinedWorker({ executor: 'processes' });
  joined.send(aFunction(1, '() => process.pid'));
  joined.send(runsOf(1, 1, [[]]));
  const { values } = await joined.take('finished');
  expect(decodeValue(values)).toBeTypeOf('number');
  expect(decodeValue(values)).not.toBe(process.pid);
});

test('runs a function and gives small results along, larger ones on request', async () => {
  const joined = await aJoinedWorker();
  joined.send(aFunction(1, '(n) => "x".repeat(n)'));
  joined.send(runsOf(1, 1, [[3]]));
  const small = await joined.take('finished');
  expect(small.runs).toEqual([1]);
  expect(decodeValue(small.values)).toBe('xxx');

  joined.send(runsOf(1, 2, [[100_000]]));
  const large = await joined.take('finished');
  expect(large.values.byteLength).toBe(0);
  const [size = 0] = large.sizes;
  joined.send(getData(5, 2, 0, 60_000));
  joined.send(getData(6, 2, 60_000, 60_000));
  await until('both chunks', () => (joined.bulk.length === 2 ? true : undefined));
  expect(joined.bulk).toMatchObject([
    { request: 5, totalBytes: size, offset: 0 },
    { request: 6, totalBytes: size, offset: 60_000 },
  ]);
  expect(decodeValue(Buffer.concat(joined.bulk.map(({ bytes }) => bytes)))).toHaveLength(100_000);

  joined.send(getData(7, 99, 0, 10));
  expect(await joined.take('data-failed')).toMatchObject({
    request: 7,
    failure: { code: 'ERR_LOST_DATA' },
  });
});

test('brings inputs over from another worker, or through the scheduler', async () => {
  const holder = await aJoinedWorker({ name: 'holder' });
  holder.send(aFunction(1, '(n) => new Uint8Array(n).fill(7)'));
  holder.send(runsOf(1, 1, [[3_000_000]]));
  const { sizes } = await holder.take('finished');

  const asker = await aJoinedWorker({ name: 'asker' });
  asker.send(aFunction(2, '(bytes) => bytes.length'));
  const [size = 0] = sizes;
  const input = (holders: readonly string[], task: number): ReturnType<typeof runDependency> =>
    runDependency(task, size, holders, null);
  const reference = { [Symbol.for('farm.future')]: true };
  const { bytes: args, references } = encodeValue([reference]);
  expect(references).toHaveLength(1);
  const run = (id: number, dependency: ReturnType<typeof runDependency>): void => {
    const fields = { args, ends: [args.byteLength], dependencies: [[dependency]] };
    asker.send(runsOf(2, id, [[]], fields));
  };
  run(10, input([holder.hello.address ?? ''], 1));
  expect(decodeValue((await asker.take('finished')).values)).toBe(3_000_000);
  expect(await asker.take('holding')).toMatchObject({ tasks: [1] });

  run(11, input([], 500));
  const asked = await asker.take('get-relayed');
  expect(asked.task).toBe(500);
  const from = { origin: '', worker: null, error: null, name: null };
  const why = { code: 'ERR_LOST_DATA', message: 'gone', ...from };
  asker.send({
    op: 'data-failed',
    request: asked.request,
    failure: { ...why, code: 'ERR_LOST_DATA' },
  });
  expect(await asker.take('input-missing')).toMatchObject({ run: 11, task: 500 });
});

test('reports what a function throws, and bytes that are no function', async () => {
  const joined = await aJoinedWorker({ name: 'w-1' });
  joined.send(aFunction(1, '() => { throw new TypeError("bad"); }'));
  joined.send({ op: 'define-worker-function', fn: 2, name: 'junk', spec: new Uint8Array([1, 2]) });
  joined.send(runsOf(1, 1, [[]]));
  joined.send(runsOf(2, 2, [[]]));
  const failures = [await joined.take('run-failed'), await joined.take('run-failed')];
  const byRun = Object.fromEntries(failures.map(({ run, failure }) => [run, failure]));
  expect(byRun[1]).toMatchObject({ code: 'ERR_TASK', worker: 'w-1' });
  expect(byRun[2]?.code).toBe('ERR_FUNCTION');
});

test('terminates a running task that is stopped, and goes on', async () => {
  const joined = await aJoinedWorker();
  joined.send(aFunction(1, '(forever) => { while (forever); return 1; }'));
  joined.send(runsOf(1, 1, [[true]]));
  joined.send(runsOf(1, 2, [[false]]));
  await until('the first one executes', async () => {
    const { executing } = await joined.take('worker-heartbeat');
    return executing.includes(1) ? true : undefined;
  });
  joined.send(stop([1], true));
  expect(await joined.take('stopped')).toMatchObject({ runs: [1], kept: [] });
  expect((await joined.take('finished')).runs).toEqual([2]);
});

test('writes what tasks write', async () => {
  const written: string[] = [];
  const joined = await aJoinedWorker({
    output: (stream, text) => written.push(`${stream}:${text}`),
  });
  joined.send(aFunction(1, '() => { console.log("hello"); console.error("oh"); }'));
  joined.send(runsOf(1, 1, [[]]));
  await joined.take('finished');
  await until('both lines', () => (written.length === 2 ? true : undefined));
  expect(written.toSorted()).toEqual(['stderr:oh\n', 'stdout:hello\n']);
});

test('leaves when told, with its work handed back and its directory removed', async () => {
  const worker = aWorker({ name: 'w-1' });
  await worker.start();
  const joined = await scheduler.joined();
  expect(await readdir(join(directory, 'local'))).toHaveLength(1);
  joined.send(aFunction(1, '() => { for (;;); }'));
  joined.send(runsOf(1, 1, [[], []]));
  await until('the first one executes', async () => {
    const { executing } = await joined.take('worker-heartbeat');
    return executing.includes(1) ? true : undefined;
  });
  joined.send({ op: 'close-worker', reason: 'shutdown' });
  expect(await joined.take('stopped')).toMatchObject({ runs: [2] });
  expect(await joined.take('leaving')).toMatchObject({ reason: 'shutdown' });
  expect(await worker.ended).toEqual({ exitCode: 0, reason: 'shutdown' });
  expect(await readdir(join(directory, 'local'))).toEqual([]);
});

test('starts over with nothing when the scheduler is lost', async () => {
  const first = await aJoinedWorker({ name: 'w-1' });
  first.send(aFunction(1, '() => 5'));
  first.send(runsOf(1, 1, [[]]));
  await first.take('finished');
  first.drop();
  const second = await scheduler.joined();
  expect(second.hello.name).toBe('w-1');
  expect(second.hello.incarnation).not.toBe(first.hello.incarnation);
  second.send(getData(1, 1, 0, 100));
  expect(await second.take('data-failed')).toMatchObject({ request: 1 });
  second.send(aFunction(1, '() => 6'));
  second.send(runsOf(1, 1, [[]]));
  expect(decodeValue((await second.take('finished')).values)).toBe(6);
});

test('waits for a scheduler file that is missing, or of a scheduler that is gone', async () => {
  const schedulerFile = join(directory, 's.json');
  const gone = await FakeScheduler.listen();
  await gone.writeFile(schedulerFile);
  await gone.close();
  const worker = aWorker({ schedulerFile });
  const started = worker.start();
  await scheduler.writeFile(schedulerFile);
  await started;
  await scheduler.joined();
  expect(worker.address).toMatch(/^tcp:/);
});

test('gives up after the death timeout, naming the file', async () => {
  const schedulerFile = join(directory, 'never.json');
  const worker = aWorker({ schedulerFile, deathTimeoutMs: 300 });
  await expect(worker.start()).rejects.toMatchObject({ code: 'ERR_CONNECT' });
  const { exitCode, reason } = await worker.ended;
  expect(exitCode).toBe(1);
  expect(reason).toContain(schedulerFile);
});

test('gives up after the death timeout when the scheduler went away', async () => {
  const worker = aWorker({ deathTimeoutMs: 300 });
  await worker.start();
  await scheduler.joined();
  await scheduler.close();
  expect(await worker.ended).toMatchObject({ exitCode: 1 });
});

test('ends at once with the wrong token', async () => {
  const worker = aWorker({ token: 'guess' });
  await expect(worker.start()).rejects.toMatchObject({ code: 'ERR_UNAUTHORIZED' });
  expect(await worker.ended).toMatchObject({ exitCode: 1 });
});

test('ends at once where its directory cannot be made', async () => {
  const localDirectory = join(directory, 'a-file');
  await writeFile(localDirectory, '');
  const worker = aWorker({ localDirectory });
  await expect(worker.start()).rejects.toThrow(localDirectory);
  expect((await worker.ended).exitCode).toBe(1);
});

test('close before it ever connected ends it well', async () => {
  const worker = aWorker({ schedulerFile: join(directory, 'never.json') });
  const started = worker.start();
  started.catch(() => {});
  await worker.close('test');
  expect(await worker.ended).toEqual({ exitCode: 0, reason: 'test' });
});

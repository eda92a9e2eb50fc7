import { u32Count } from '@farm/protocol';
import { decodeValue } from '@farm/protocol/value';
import { describe, expect, test } from 'vitest';

import { Future, arg, command } from '../src/index.ts';
import { connectFake } from './fake-scheduler.ts';

const add = (x: number, y: number): number => x + y;

describe('submit', () => {
  test('sends the function once and each task with its arguments', async () => {
    await using rig = connectFake();
    const one = rig.client.submit(add, 1, 2);
    const two = rig.client.submit(add, 3, 4);
    const tasks = await rig.scheduler.submitted(2);
    expect(tasks.map((task) => rig.scheduler.argumentsOf(task))).toEqual([
      [1, 2],
      [3, 4],
    ]);
    expect(tasks.map((task) => task.key)).toEqual([one.key, two.key]);
    expect(one.key).toMatch(/^add-[\w-]{10}$/);
    const defined = rig.scheduler.heard('define-function');
    expect(defined).toHaveLength(1);
    expect(decodeValue(defined[0]?.spec ?? new Uint8Array())).toMatchObject({
      kind: 'source',
      name: 'add',
    });
  });

  test('futures anywhere in the arguments become dependencies, each once', async () => {
    await using rig = connectFake();
    const a = rig.client.submit(add, 1, 2);
    const b = rig.client.submit(add, 3, 4);
    rig.client.submit((x: unknown) => x, [a, { deep: new Map([['k', new Set([b, a])]]) }, 7]);
    const [, , task] = await rig.scheduler.submitted(3);
    expect(task?.deps).toEqual([1, 2]);
    expect(task && rig.scheduler.argumentsOf(task)).toEqual([
      ['future 1', { deep: new Map([['k', new Set(['future 2', 'future 1'])]]) }, 7],
    ]);
  });

  test('options travel with the task, and add up', async () => {
    await using rig = connectFake();
    const gpu = rig.client.with({ resources: { GPU: 1 }, memory: '2GB', retries: 2 });
    gpu.with({ timeoutMs: 60_000, workers: 'node7', key: 'mine' }).submit(add, 1, 2);
    const [task] = await rig.scheduler.submitted(1);
    expect(task?.key).toBe('mine');
    expect(task?.options).toEqual({
      resources: [
        ['GPU', 1],
        ['memory', 2_000_000_000],
      ],
      workers: ['node7'],
      allowOtherWorkers: false,
      retries: 2,
      priority: 0,
      timeoutMs: 60_000,
      retryDelayMs: 0,
      retryOn: [],
      growMemory: null,
      rerunOnLoss: true,
      spans: [],
      speculate: null,
    });
  });

  test('spans of nested submitters add up', async () => {
    await using rig = connectFake();
    const outer = rig.client.with({ span: 'run' });
    outer.with({ span: ['load', 'mesh'] }).submit(add, 1, 2);
    outer.with({ retries: 1 }).submit(add, 1, 2);
    const tasks = await rig.scheduler.submitted(2);
    expect(tasks.map(({ options }) => options.spans)).toEqual([['run', 'load', 'mesh'], ['run']]);
    for (const span of [7, [''], ['x', 7], Array.from({ length: 40 }, () => 'x')]) {
      // @ts-expect-error: some of these are no spans by type, all are none by value
      expect(() => rig.client.with({ span })).toThrow('span');
    }
  });

  test('slow tasks may be started a second time', async () => {
    await using rig = connectFake();
    for (const speculate of [true, false, { factor: 2 }, { factor: 5, minMs: 0 }]) {
      rig.client.with({ speculate }).submit(add, 1, 2);
    }
    const tasks = await rig.scheduler.submitted(4);
    expect(tasks.map(({ options }) => options.speculate)).toEqual([
      [3, 1_000],
      null,
      [2, 1_000],
      [5, 0],
    ]);
  });

  test('retries may have a delay and errors that they are for', async () => {
    await using rig = connectFake();
    const retries = { count: 3, delayMs: 100, on: ['TypeError'] };
    rig.client.with({ retries, rerunOnLoss: false }).submit(add, 1, 2);
    const [task] = await rig.scheduler.submitted(1);
    expect(task?.options).toMatchObject({
      retries: 3,
      retryDelayMs: 100,
      retryOn: ['TypeError'],
      rerunOnLoss: false,
    });
  });

  test.each<[object, RegExp]>([
    [{ retries: -1 }, /retries/],
    [{ retries: { count: 1, delay: 5 } }, /"delay"; did you mean delayMs\?/],
    [{ retries: { count: 1, delayMs: -1 } }, /retries\.delayMs/],
    [{ retries: { count: 1, on: [7] } }, /retries\.on/],
    [{ rerunOnLoss: 1 }, /rerunOnLoss/],
    [{ growMemory: true }, /growMemory is only for tasks with memory/],
    [{ memory: 1, growMemory: 1 }, /growMemory is neither/],
    [{ speculate: 3 }, /speculate is neither/],
    [{ speculate: { factor: 0.5 } }, /speculate\.factor/],
    [{ speculate: { minMs: -1 } }, /speculate\.minMs/],
    [{ speculate: { minms: 1 } }, /did you mean minMs\?/],
    [{ speculate: true, rerunOnLoss: false }, /speculate .* rerunOnLoss: false/],
    [{ retries: Number.NaN }, /retries/],
    [{ priority: Infinity }, /priority/],
    [{ timeoutMs: 0 }, /timeoutMs/],
    [{ resources: { GPU: -1 } }, /resources\.GPU/],
    [{ resources: { memory: 1e9 } }, /memory, an option of its own/],
    [{ memory: '2 gigs' }, /memory is neither/],
    [{ memory: 0 }, /memory is neither/],
    [{ resources: { GPU: Number.NaN } }, /resources\.GPU/],
    [{ key: '' }, /key/],
    [{ workers: [''] }, /workers/],
    [{ timeoutms: 5 }, /"timeoutms"; did you mean timeoutMs\?/],
    [{ allow_other_workers: true }, /did you mean allowOtherWorkers\?/],
    [{ retrys: 1 }, /did you mean retries\?|there are/],
  ])('refuses the options %j', async (options, message) => {
    await using rig = connectFake();
    expect(() => rig.client.with(options)).toThrow(message);
    expect(() => rig.client.with(options)).toThrow(
      expect.objectContaining({ code: 'ERR_ARGUMENT' }),
    );
  });

  test('refuses an argument that cannot travel, with the path to it', async () => {
    await using rig = connectFake();
    const bad = { list: [1, { hook: () => 1 }] };
    expect(() => rig.client.submit((x: unknown) => x, bad)).toThrow(/list\[1\]\.hook/);
  });

  test('refuses futures of another client, released and cancelled ones', async () => {
    await using rig = connectFake();
    await using other = connectFake();
    const foreign = other.client.submit(add, 1, 2);
    const released = rig.client.submit(add, 1, 2);
    released.release();
    const stopped = rig.client.submit(add, 1, 2);
    stopped.cancel();
    for (const future of [foreign, released, stopped]) {
      expect(() => rig.client.submit(add, future, 1)).toThrow(
        expect.objectContaining({ code: 'ERR_FOREIGN_FUTURE' }),
      );
    }
  });

  test.each([null, undefined, 'Math.sqrt', 7, {}, Promise.resolve()])(
    'refuses %s as a function',
    async (code) => {
      await using rig = connectFake();
      // SAFE: the test is about values that the types do not allow.
      expect(() => rig.client.submit(code as never)).toThrow(
        expect.objectContaining({ code: 'ERR_FUNCTION' }),
      );
    },
  );

  test('a command needs as many arguments as it has slots', async () => {
    await using rig = connectFake();
    const copy = command('cp', [arg(0), arg(1)]);
    expect(() => rig.client.submit(copy, 'a')).toThrow(/takes 2 arguments, and 1 is given/);
    rig.client.submit(copy, 'a', 'b');
    const [task] = await rig.scheduler.submitted(1);
    expect(task?.key).toMatch(/^cp-/);
  });
});

describe('map', () => {
  test('is one message, with numbered keys', async () => {
    await using rig = connectFake();
    const futures = rig.client
      .with({ key: 'sum' })
      .map(add, [1, 2, 3], new Float64Array([10, 20, 30]));
    const tasks = await rig.scheduler.submitted(3);
    expect(rig.scheduler.heard('submit')).toHaveLength(1);
    expect(tasks.map((task) => rig.scheduler.argumentsOf(task))).toEqual([
      [1, 10],
      [2, 20],
      [3, 30],
    ]);
    expect(futures.map((future) => future.key)).toEqual(['sum-0', 'sum-1', 'sum-2']);
    expect(tasks.map((task) => task.key)).toEqual(['sum-0', 'sum-1', 'sum-2']);
  });

  test('stops at the shortest iterable, endless ones included', async () => {
    await using rig = connectFake();
    let isClosed = false;
    function* numbers(): Generator<number> {
      try {
        for (let n = 0; ; n++) yield n;
      } finally {
        isClosed = true;
      }
    }
    expect(rig.client.map(add, numbers(), [5, 6])).toHaveLength(2);
    expect(isClosed).toBe(true);
  });

  test('over nothing is nothing, and says nothing', async () => {
    await using rig = connectFake();
    expect(rig.client.map(add, [], [1])).toEqual([]);
    await rig.session.ready();
    expect(rig.scheduler.heard('submit')).toEqual([]);
  });

  test('submits nothing where one argument cannot travel', async () => {
    await using rig = connectFake();
    const rows = [1, 2, () => 3];
    expect(() => rig.client.map((x: unknown) => x, rows)).toThrow(
      /task 2 of the map: arguments\[0\]/,
    );
    await rig.session.ready();
    expect(rig.scheduler.heard('submit')).toEqual([]);
  });

  test('dependencies of single tasks are kept apart', async () => {
    await using rig = connectFake();
    const a = rig.client.submit(add, 1, 2);
    const b = rig.client.submit(add, 1, 2);
    rig.client.map(add, [1, a, 2, b], [a, 5, 6, a]);
    const tasks = await rig.scheduler.submitted(6);
    expect(tasks.slice(2).map((task) => task.deps)).toEqual([[1], [1], [], [2, 1]]);
  });

  test('a large one is several blocks with consecutive keys and ids', async () => {
    await using rig = connectFake();
    const count = 150_000;
    const futures = rig.client
      .with({ key: 'n' })
      .map((x: number) => x, Array.from({ length: count }).keys());
    await rig.scheduler.submitted(count);
    const blocks = rig.scheduler.heard('submit');
    expect(blocks.length).toBeGreaterThan(1);
    let next = 0;
    for (const block of blocks) {
      expect(block.first).toBe(next + 1);
      expect(block.indexFrom).toBe(next);
      expect(u32Count(block.argEndsColumn)).toBe(block.count);
      next += block.count;
    }
    expect(next).toBe(count);
    expect(futures.at(-1)?.key).toBe('n-149999');
    expect(rig.scheduler.tasks.get(count)?.key).toBe('n-149999');
  });

  test('large arguments are split by bytes', async () => {
    await using rig = connectFake();
    const chunk = new Uint8Array(6_000_000);
    rig.client.map((x: Uint8Array) => x.length, [chunk, chunk, chunk, chunk]);
    await rig.scheduler.submitted(4);
    expect(rig.scheduler.heard('submit').map((block) => block.count)).toEqual([3, 1]);
  });

  test('refuses what cannot be iterated', async () => {
    await using rig = connectFake();
    // SAFE: the test is about a value that the types do not allow.
    expect(() => rig.client.map(add, [1], 5 as never)).toThrow(/argument 2 cannot be iterated/);
  });
});

test('a future is no promise', async () => {
  await using rig = connectFake();
  const future = rig.client.submit(add, 1, 2);
  expect('then' in future).toBe(false);
  expect(await Promise.resolve(future)).toBe(future);
  expect(Future.isFuture(future)).toBe(true);
});

import { inspect } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

import { failure } from '@farm/protocol';
import { encodeError } from '@farm/protocol/value';
import { describe, expect, test } from 'vitest';

import { CommandError, FarmError, asCompleted, failureOf, wait } from '../src/index.ts';
import { gather } from '../src/gather.ts';
import { connectFake } from './fake-scheduler.ts';

const id = (x: number): number => x;

describe('result', () => {
  test('is what the task returned', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    expect([future.status, future.done]).toEqual(['pending', false]);
    await rig.scheduler.submitted(1);
    rig.scheduler.finish([[1, { a: [1, -0] }]]);
    expect(await future.result()).toEqual({ a: [1, -0] });
    expect([future.status, future.done]).toEqual(['finished', true]);
    expect([future.worker, future.durationMs]).toEqual(['w-0', 1.5]);
    expect(inspect(future)).toBe(`<Future finished ${future.key}>`);
    expect(await future.exception()).toBeUndefined();
  });

  test('each call has a copy of its own', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(() => [1]);
    await rig.scheduler.submitted(1);
    rig.scheduler.finish([[1, [1]]]);
    (await future.result()).push(2);
    expect(await future.result()).toEqual([1]);
  });

  test('is the error of the task, with where it came from', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    await rig.scheduler.submitted(1);
    const thrown = Object.assign(new RangeError('too far', { cause: new Error('why') }), { at: 7 });
    rig.scheduler.fail([1], thrown, 'other-key');
    const caught: unknown = await future.result().catch((error: unknown) => error);
    expect(caught).toBeInstanceOf(RangeError);
    expect(caught).toMatchObject({ message: 'too far', at: 7, cause: { message: 'why' } });
    expect(failureOf(caught)).toEqual({
      code: 'ERR_TASK',
      key: future.key,
      origin: 'other-key',
      worker: 'w-0',
      submittedAt: null,
    });
    expect(future.status).toBe('error');
    expect(await future.exception()).toBeInstanceOf(RangeError);
  });

  test('is an error of farm by the name that farm gave it', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    await rig.scheduler.submitted(1);
    const named = 'MemoryLimitExceeded';
    rig.scheduler.failWith(
      [1],
      failure('ERR_MEMORY_LIMIT', 'too much', future.key, 'w-0', null, named),
    );
    const caught = await future.exception();
    expect(caught).toBeInstanceOf(FarmError);
    expect(caught).toMatchObject({ name: named, code: 'ERR_MEMORY_LIMIT', message: 'too much' });
  });

  test.each([
    ['ERR_FUNCTION', 'the module /a.js could not be imported on worker w-0: Error: none'],
    ['ERR_WORKER_CRASH', 'the thread running it ended: uncaught Error: none'],
  ] as const)('%s is an error of farm, with what was thrown as its cause', async (code, text) => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    await rig.scheduler.submitted(1);
    const bytes = encodeError(Object.assign(new TypeError('none'), { code: 'E_NONE' }));
    rig.scheduler.failWith([1], failure(code, text, future.key, 'w-0', bytes));
    const caught = await future.exception();
    expect(caught).toBeInstanceOf(FarmError);
    expect(caught).toMatchObject({ code, message: text, key: future.key, worker: 'w-0' });
    expect(caught?.cause).toBeInstanceOf(TypeError);
    expect(caught?.cause).toMatchObject({ message: 'none', code: 'E_NONE' });
    expect(failureOf(caught)?.code).toBe(code);
  });

  test('of a command that failed is a CommandError', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    await rig.scheduler.submitted(1);
    const fields = { exitCode: 3, signal: null, stdout: 'out', stderr: 'err', durationMs: 12 };
    const error = encodeError(Object.assign(new Error('make: exit code 3'), fields));
    rig.scheduler.failWith([1], failure('ERR_COMMAND', 'exit code 3', future.key, 'w-0', error));
    const caught: unknown = await future.result().catch((reason: unknown) => reason);
    expect(caught).toBeInstanceOf(CommandError);
    expect(caught).toBeInstanceOf(FarmError);
    expect(caught).toMatchObject({ ...fields, code: 'ERR_COMMAND', worker: 'w-0' });
  });

  test('is awaited no longer than timeoutMs, or than a signal allows', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    await expect(future.result({ timeoutMs: 1 })).rejects.toMatchObject({ code: 'ERR_TIMEOUT' });
    await expect(future.result({ timeoutMs: Number.NaN })).rejects.toMatchObject({
      code: 'ERR_ARGUMENT',
    });
    const controller = new AbortController();
    const waiting = future.result({ signal: controller.signal });
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    await rig.scheduler.submitted(1);
    rig.scheduler.finish([[1, 5]]);
    expect(await future.result({ timeoutMs: 60_000 })).toBe(5);
  });

  test('that is large is fetched in chunks', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(() => new Float64Array(0));
    await rig.scheduler.submitted(1);
    const value = Float64Array.from({ length: 1_500_000 }, (_, index) => index);
    rig.scheduler.finish([[1, value]], false);
    expect(await future.result()).toEqual(value);
    expect(rig.scheduler.heard('get-result').length).toBe(12);
  });

  test('that got lost is awaited again', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    await rig.scheduler.submitted(1);
    let refusals = 0;
    rig.scheduler.onGetResult = (request) => {
      if (refusals === 2) return false;
      refusals += 1;
      rig.scheduler.refuseData(request, 'its worker is gone');
      if (refusals === 2) {
        rig.scheduler.recompute([1]);
        rig.scheduler.finish([[1, 'again']], false);
      }
      return true;
    };
    rig.scheduler.finish([[1, 'first']], false);
    expect(await future.result()).toBe('again');
  });

  test('survives a change of size on the way', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    await rig.scheduler.submitted(1);
    rig.scheduler.finish([[1, 'short']], false);
    const waiting = future.result();
    rig.scheduler.finish([[1, 'much longer than before']], false);
    expect(await waiting).toBe('much longer than before');
  });
});

describe('release, cancel, retry', () => {
  test('releases of one tick are one message of ranges', async () => {
    await using rig = connectFake();
    const futures = rig.client.map(id, [0, 1, 2, 3, 4, 5]);
    await rig.scheduler.submitted(6);
    for (const future of [futures[4], futures[0], futures[2], futures[1], futures[1]]) {
      future?.release();
    }
    await rig.scheduler.until(() => rig.scheduler.heard('release').length > 0);
    expect(rig.scheduler.heard('release').map((message) => message.ranges)).toEqual([[1, 3, 5, 1]]);
    expect(futures[0]?.status).toBe('released');
    await expect(futures[0]?.result()).rejects.toMatchObject({ code: 'ERR_FOREIGN_FUTURE' });
  });

  test('futures that became garbage are released, those waited for are not', async () => {
    setFlagsFromString('--expose-gc');
    // SAFE: that is what the flag adds.
    const collect = runInNewContext('gc') as () => void;
    await using rig = connectFake();
    const waited = rig.client.submit(id, 0).result();
    ((): void => {
      rig.client.map(id, [1, 2, 3]);
    })();
    await rig.scheduler.submitted(4);
    while (rig.scheduler.heard('release').length === 0) {
      collect();
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(rig.scheduler.heard('release').map((message) => message.ranges)).toEqual([[2, 3]]);
    rig.scheduler.finish([[1, 'kept']]);
    expect(await waited).toBe('kept');
  });

  test('using releases at the end of the block', async () => {
    await using rig = connectFake();
    {
      using future = rig.client.submit(id, 1);
      expect(future.status).toBe('pending');
    }
    await rig.scheduler.until(() => rig.scheduler.heard('release').length > 0);
  });

  test('a result that is waited for rejects when its future is released', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    const waiting = future.result();
    future.release();
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_FOREIGN_FUTURE' });
  });

  test('cancel tells the scheduler and rejects at once; what is done stays', async () => {
    await using rig = connectFake();
    const [one, two] = rig.client.map(id, [1, 2]);
    await rig.scheduler.submitted(2);
    rig.scheduler.finish([[1, 1]]);
    await one?.result();
    one?.cancel();
    two?.cancel('changed my mind');
    await expect(two?.result()).rejects.toThrow(
      `${two?.key}: the task was cancelled: changed my mind`,
    );
    await expect(two?.result()).rejects.toMatchObject({ code: 'ERR_CANCELLED' });
    expect([one?.status, two?.status]).toEqual(['finished', 'cancelled']);
    await rig.scheduler.until(() => rig.scheduler.heard('cancel').length > 0);
    expect(rig.scheduler.heard('cancel')).toMatchObject([{ ranges: [2, 1] }]);
  });

  test('a task cancelled by another client rejects with the reason', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    await rig.scheduler.submitted(1);
    rig.scheduler.cancel([1], 'by the operator');
    await expect(future.result()).rejects.toThrow(
      `${future.key}: the task was cancelled: by the operator`,
    );
  });

  test('retry runs a failed task again', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    await rig.scheduler.submitted(1);
    rig.scheduler.fail([1], new Error('once'));
    await expect(future.result()).rejects.toThrow('once');
    future.retry();
    expect(future.status).toBe('pending');
    await rig.scheduler.until(() => rig.scheduler.heard('retry').length > 0);
    rig.scheduler.finish([[1, 2]]);
    expect(await future.result()).toBe(2);
  });
});

describe('gather', () => {
  test('keeps the shape of nested containers', async () => {
    await using rig = connectFake();
    const [a, b, c] = rig.client.map(id, [0, 0, 0]);
    await rig.scheduler.submitted(3);
    rig.scheduler.finish([
      [1, 'a'],
      [2, 'b'],
    ]);
    rig.scheduler.finish([[3, 'c']], false);
    const date = new Date(0);
    const nested = { list: [a, [b], 5], map: new Map([['k', c]]), set: new Set([a]), date, a };
    expect(await gather(nested)).toEqual({
      list: ['a', ['b'], 5],
      map: new Map([['k', 'c']]),
      set: new Set(['a']),
      date,
      a: 'a',
    });
    expect(await gather(a)).toBe('a');
    expect(await gather([])).toEqual([]);
    expect(await gather([c, a, c])).toEqual(['c', 'a', 'c']);
  });

  test('rejects with the first failure without waiting for the rest', async () => {
    await using rig = connectFake();
    const futures = rig.client.map(id, [0, 1, 2]);
    await rig.scheduler.submitted(3);
    const gathering = gather(futures);
    rig.scheduler.fail([2], new Error('second'));
    await expect(gathering).rejects.toThrow('second');
    await expect(gather(futures)).rejects.toThrow('second');
  });

  test('skips failures where asked to', async () => {
    await using rig = connectFake();
    const futures = rig.client.map(id, [0, 1, 2]);
    await rig.scheduler.submitted(3);
    rig.scheduler.fail([2], new Error('second'));
    rig.scheduler.finish([[1, 10]]);
    rig.scheduler.finish([[3, 30]], false);
    expect(await gather(futures, { errors: 'skip' })).toEqual([10, 30]);
    const [a, b] = futures;
    expect(await gather({ a, b, n: new Map([[1, b]]) }, { errors: 'skip' })).toEqual({
      a: 10,
      n: new Map(),
    });
  });

  test('a cyclic container comes back cyclic', async () => {
    await using rig = connectFake();
    const nested: { self?: unknown; value: unknown } = { value: rig.client.submit(id, 1) };
    nested.self = nested;
    await rig.scheduler.submitted(1);
    rig.scheduler.finish([[1, 1]]);
    const result = await gather(nested);
    expect(result.self).toBe(result);
    expect(result.value).toBe(1);
  });

  test('a hundred thousand results arrive in order', async () => {
    await using rig = connectFake();
    const count = 100_000;
    const futures = rig.client.map(id, Array.from({ length: count }).keys());
    await rig.scheduler.submitted(count);
    for (let from = count - 1_000; from >= 0; from -= 1_000) {
      rig.scheduler.finish(
        Array.from({ length: 1_000 }, (_, index) => [from + index + 1, from + index]),
      );
    }
    expect(await gather(futures)).toEqual([...Array.from({ length: count }).keys()]);
  });
});

describe('asCompleted', () => {
  test('yields in the order of completion, failures too', async () => {
    await using rig = connectFake();
    const futures = rig.client.map(id, [0, 1, 2]);
    await rig.scheduler.submitted(3);
    const running = asCompleted(futures);
    expect(running.count).toBe(3);
    rig.scheduler.finish([[3, 'c']]);
    rig.scheduler.fail([1], new Error('a'));
    rig.scheduler.finish([[2, 'b']]);
    const order: unknown[] = [];
    for await (const future of running) {
      order.push(await future.result().catch((error: unknown) => String(error)));
    }
    expect(order).toEqual(['c', 'Error: a', 'b']);
    expect(running.isEmpty).toBe(true);
  });

  test('may be fed while it is iterated, and started when all is done', async () => {
    await using rig = connectFake();
    const first = rig.client.map(id, [0, 1]);
    await rig.scheduler.submitted(2);
    rig.scheduler.finish([
      [1, 'a'],
      [2, 'b'],
    ]);
    await gather(first);
    const running = asCompleted(first);
    const seen: unknown[] = [];
    for await (const future of running) {
      seen.push(await future.result());
      if (seen.length === 1) {
        running.add(rig.client.submit(id, 2));
        rig.scheduler.finish([[3, 'c']]);
      }
    }
    expect(seen).toEqual(['a', 'b', 'c']);
  });

  test('yields one given twice twice, and results where asked to', async () => {
    await using rig = connectFake();
    const [a, b] = rig.client.map(id, [0, 1]);
    if (a === undefined || b === undefined) throw new Error('two were submitted');
    await rig.scheduler.submitted(2);
    const running = asCompleted([a, b, a], { results: true });
    rig.scheduler.finish([[1, 'a']]);
    rig.scheduler.fail([2], new Error('b'));
    const entries = [];
    for await (const entry of running) entries.push(entry);
    expect(entries).toMatchObject([
      { status: 'fulfilled', value: 'a', future: a },
      { status: 'fulfilled', value: 'a', future: a },
      { status: 'rejected', reason: { message: 'b' }, future: b },
    ]);
  });

  test('several takers share what comes, and all end', async () => {
    await using rig = connectFake();
    const running = asCompleted(rig.client.map(id, [0, 1]));
    const taken = [running.next(), running.next(), running.next()];
    await rig.scheduler.submitted(2);
    rig.scheduler.finish([
      [2, 1],
      [1, 0],
    ]);
    const ends = (await Promise.all(taken)).map((result) => result.done);
    expect(ends).toEqual([false, false, true]);
  });
});

describe('wait', () => {
  test('for all, for the first, and until a time', async () => {
    await using rig = connectFake();
    const futures = rig.client.map(id, [0, 1, 2]);
    const [a, b, c] = futures;
    await rig.scheduler.submitted(3);
    const first = wait(futures, { returnWhen: 'first' });
    rig.scheduler.finish([[2, 'b']]);
    expect(await first).toEqual({ done: [b], notDone: [a, c] });
    expect(await wait(futures, { timeoutMs: 1 })).toEqual({ done: [b], notDone: [a, c] });
    const all = wait(futures);
    rig.scheduler.fail([1, 3], new Error('no'));
    expect(await all).toEqual({ done: futures, notDone: [] });
    expect(await wait([])).toEqual({ done: [], notDone: [] });
    const aborted = AbortSignal.abort(new Error('stop'));
    await expect(wait(rig.client.map(id, [1]), { signal: aborted })).rejects.toThrow('stop');
  });
});

describe('the end of the connection', () => {
  test('rejects what is pending, keeps what is here', async () => {
    await using rig = connectFake();
    const [one, two] = rig.client.map(id, [1, 2]);
    await rig.scheduler.submitted(2);
    rig.scheduler.finish([[1, 1]]);
    expect(await one?.result()).toBe(1);
    const waiting = two?.result();
    rig.scheduler.terminate();
    await expect(waiting).rejects.toThrow(/tcp:\/\/127\.0\.0\.1:8786 was lost/);
    expect(await two?.exception()).toMatchObject({ code: 'ERR_CONNECTION_LOST' });
    expect(await one?.result()).toBe(1);
    expect(two?.status).toBe('lost');
    expect(() => rig.client.submit(id, 1)).toThrow(
      expect.objectContaining({ code: 'ERR_CONNECTION_LOST' }),
    );
  });

  test('close rejects what is pending with ERR_CLOSED', async () => {
    await using rig = connectFake();
    const future = rig.client.submit(id, 1);
    const ended = future.exception();
    await rig.scheduler.submitted(1);
    await rig.session.close();
    expect(await ended).toMatchObject({ code: 'ERR_CLOSED' });
    await rig.scheduler.until(() => rig.scheduler.heard('close-client').length > 0);
    expect(() => rig.client.submit(id, 1)).toThrow(expect.objectContaining({ code: 'ERR_CLOSED' }));
  });
});

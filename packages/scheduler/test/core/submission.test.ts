import { packU32, submit, taskOptions } from '@farm/protocol/core';
import type { Submit } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts, bytes } from './scheduler-harness.ts';

const GOOD: Submit = submit({
  first: 0,
  count: 2,
  key: 'k',
  indexFrom: 0,
  fn: 'hash-f',
  args: bytes('ab'),
  argEndsColumn: packU32([1, 2]),
  depsColumn: null,
  depEndsColumn: null,
  options: taskOptions({}),
});

describe('a client that does not keep to the protocol is dropped, with a reason', () => {
  const cases: readonly [name: string, message: Submit, reason: string][] = [
    ['a function never defined', { ...GOOD, fn: 'nope' }, 'nope, which was not defined'],
    ['no tasks', { ...GOOD, count: 0 }, 'submit of 0 tasks'],
    ['too many tasks', { ...GOOD, count: 65_537 }, 'submit of 65537 tasks'],
    ['half a task', { ...GOOD, count: 1.5 }, 'submit of 1.5 tasks'],
    ['ids beyond 2^32', { ...GOOD, first: 2 ** 32 - 1 }, 'below 2^32'],
    ['negative ids', { ...GOOD, first: -1 }, 'below 2^32'],
    ['several tasks under one key', { ...GOOD, indexFrom: null }, 'under the one key k'],
    ['a negative index', { ...GOOD, indexFrom: -3 }, 'indices from -3'],
    ['an empty key', { ...GOOD, key: '' }, 'must not be empty'],
    ['ends too few', { ...GOOD, argEndsColumn: packU32([2]) }, 'argument columns'],
    ['ends descending', { ...GOOD, argEndsColumn: packU32([2, 1]) }, 'argument columns'],
    ['ends out of range', { ...GOOD, argEndsColumn: packU32([1, 9]) }, 'argument columns'],
    ['bytes left over', { ...GOOD, argEndsColumn: packU32([1, 1]) }, 'argument columns'],
    ['one dependency column', { ...GOOD, depsColumn: packU32([]) }, 'one dependency column'],
    [
      'dependency ends out of range',
      { ...GOOD, depsColumn: packU32([7]), depEndsColumn: packU32([1, 2]) },
      'dependency columns',
    ],
    [
      'a torn dependency column',
      { ...GOOD, depsColumn: new Uint8Array(3), depEndsColumn: packU32([0, 0]) },
      'dependency columns',
    ],
  ];
  test.each(cases)('%s', (_, message, reason) => {
    const farm = new SchedulerHarness();
    const other = farm.client('other');
    const client = farm.client('c');
    client.define('f');
    client.say(message);
    const [drop] = farm.others();
    expect(drop).toMatchObject({ do: 'drop-client', client: 'c' });
    expect(drop?.do === 'drop-client' ? drop.reason : '').toContain(reason);
    expect(client.take()).toEqual([]);
    client.say(GOOD);
    farm.expectNoMore();
    farm.expectEmpty();
    other.submit();
    expect(other.take()).toHaveLength(1);
  });

  test('ids that are in use', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    client.define('f');
    client.say(GOOD, { ...GOOD, first: 1, key: 'other' });
    expect(farm.others()).toEqual([
      {
        do: 'drop-client',
        client: 'c',
        reason: 'submit of futures 1 to 2, of which some are in use',
      },
    ]);
    farm.expectEmpty();
  });
});

describe('options that make no sense fail the tasks and name themselves', () => {
  test.each([
    [{ resources: amounts({ GPU: -1 }) }, 'resource "GPU" is -1'],
    [{ resources: amounts({ GPU: Number.NaN }) }, 'resource "GPU" is NaN'],
    [{ resources: amounts({ threads: 1.5 }) }, '1.5 threads'],
    [{ resources: amounts({ threads: 0 }) }, '0 threads'],
    [{ priority: Infinity }, 'priority is Infinity'],
    [{ retries: -1 }, 'retries is -1'],
    [{ timeoutMs: 0 }, 'timeoutMs is 0'],
  ])('%j', (options, reason) => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    farm.worker('w');
    const id = client.submit({ key: 'x', options });
    const [failed] = client.taken('failed');
    expect(failed).toMatchObject({ ids: [id], failure: { code: 'ERR_ARGUMENT', origin: 'x' } });
    expect(failed?.failure.message).toContain(reason);
    client.close();
    farm.expectEmpty();
  });
});

describe('futures in arguments', () => {
  test('a future that was never there, was released or cancelled fails the task only', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 8 });
    const released = client.submit({ key: 'released' });
    const cancelled = client.submit({ key: 'cancelled' });
    client.release(released);
    client.cancel(cancelled);
    client.take();
    const first = client.submit({ key: 'm', count: 4, deps: [[released], [cancelled], [99], []] });
    const failed = client.taken('failed');
    expect(failed.flatMap(({ ids }) => ids).toSorted((a, b) => a - b)).toEqual([
      first,
      first + 1,
      first + 2,
    ]);
    for (const { failure } of failed) expect(failure.code).toBe('ERR_FOREIGN_FUTURE');
    expect(worker.keys()).toContain('m-3');
  });

  test("another client's future is foreign", () => {
    const farm = new SchedulerHarness();
    const owner = farm.client('owner');
    const client = farm.client('c');
    const id = owner.submit({ key: 'x' });
    client.submit({ key: 'y', deps: [[id]] });
    expect(client.taken('failed')[0]?.failure).toMatchObject({
      code: 'ERR_FOREIGN_FUTURE',
      origin: 'y',
    });
  });

  test('a task cannot depend on its own block', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    client.submit({ key: 'm', count: 2, deps: [[1], [0]] });
    expect(client.taken('failed').map(({ failure }) => failure.code)).toEqual([
      'ERR_FOREIGN_FUTURE',
      'ERR_FOREIGN_FUTURE',
    ]);
  });

  test('a future stays usable after the tasks it was passed to are gone', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x' });
    worker.finish();
    const y = client.submit({ key: 'y', deps: [[x]] });
    worker.finish();
    client.release(y);
    client.submit({ key: 'z', deps: [[x]] });
    expect(worker.keys()).toEqual(['z']);
  });
});

describe('the same key is the same task', () => {
  test('a second client attaches to a task on its way, and both get the result', () => {
    const farm = new SchedulerHarness();
    const [one, two] = [farm.client('one'), farm.client('two')];
    const worker = farm.worker('w');
    const first = one.submit({ key: 'x' });
    const second = two.submit({ key: 'x' });
    expect(worker.keys()).toEqual(['x']);
    worker.finish({ x: 'v' });
    expect(one.results()).toEqual(new Map([[first, 'v']]));
    expect(two.results()).toEqual(new Map([[second, 'v']]));
    one.close();
    expect(farm.core.counts().memory).toBe(1);
    two.release(second);
    two.close();
    farm.expectEmpty();
  });

  test('a finished task answers at once', () => {
    const farm = new SchedulerHarness();
    const [one, two] = [farm.client('one'), farm.client('two')];
    const worker = farm.worker('w');
    one.submit({ key: 'x' });
    worker.finish({ x: 'v' });
    const id = two.submit({ key: 'x' });
    expect(two.results()).toEqual(new Map([[id, 'v']]));
    expect(worker.keys()).toEqual([]);
  });

  test('the same client may ask twice', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const [a, b] = [client.submit({ key: 'x' }), client.submit({ key: 'x' })];
    client.release(a);
    expect(worker.stopping).toEqual([]);
    worker.finish({ x: 'v' });
    expect(client.results()).toEqual(new Map([[b, 'v']]));
    client.release(b);
    client.close();
    farm.expectEmpty();
  });

  test('a key in use for something else is refused, the other task is not disturbed', () => {
    const farm = new SchedulerHarness();
    const [one, two] = [farm.client('one'), farm.client('two')];
    const worker = farm.worker('w');
    const kept = one.submit({ key: 'x', args: ['1'] });
    two.submit({ key: 'x', args: ['2'] });
    two.submit({ key: 'x', args: ['1'], fn: 'g' });
    const failed = two.taken('failed');
    expect(failed.map(({ failure }) => failure.code)).toEqual([
      'ERR_DUPLICATE_KEY',
      'ERR_DUPLICATE_KEY',
    ]);
    expect(failed[0]?.failure.message).toContain('key x is in use');
    worker.finish({ x: 'v' });
    expect(one.results()).toEqual(new Map([[kept, 'v']]));
    two.close();
    one.close();
    farm.expectEmpty();
  });

  test('blocks whose indices overlap are refused', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    client.submit({ key: 'm', count: 3 });
    client.submit({ key: 'm', count: 2 });
    expect(client.taken('failed')[0]).toMatchObject({
      ids: expect.arrayContaining([3, 4]) as number[],
      failure: { code: 'ERR_DUPLICATE_KEY', origin: 'm-0' },
    });
  });

  test('a key whose task failed can be submitted anew', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const failed = client.submit({ key: 'x' });
    worker.fail('x');
    const again = client.submit({ key: 'x' });
    worker.finish({ x: 'v' });
    expect(client.results()).toEqual(new Map([[again, 'v']]));
    client.release(failed);
    client.submit({ key: 'x' });
    expect(worker.keys()).toEqual([]);
    client.close();
    farm.expectEmpty();
  });
});

describe('functions', () => {
  test('a function is told to each worker once, and forgotten when nobody needs it', () => {
    const farm = new SchedulerHarness();
    const [one, two] = [farm.client('one'), farm.client('two')];
    const worker = farm.worker('w', { nthreads: 4 });
    one.submit({ fn: 'f' });
    two.submit({ fn: 'f' });
    one.submit({ fn: 'g' });
    const told = worker.taken('define-worker-function');
    expect(told.map(({ name }) => name)).toEqual(['f', 'g']);
    worker.finish();
    one.close();
    expect(worker.taken('forget-functions')).toEqual([{ op: 'forget-functions', fns: [2] }]);
    two.close();
    expect(worker.functions.size).toBe(0);
    farm.expectEmpty();
  });

  test('a function stays while a task of a client that left is wanted by another', () => {
    const farm = new SchedulerHarness();
    const [one, two] = [farm.client('one'), farm.client('two')];
    one.submit({ key: 'x' });
    two.submit({ key: 'x' });
    two.release(0);
    const three = farm.client('three');
    three.submit({ key: 'x' });
    one.close();
    two.close();
    const worker = farm.worker('w');
    worker.finish({ x: 'v' });
    expect(three.results().get(0)).toBe('v');
  });
});

import { failure } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, bytes, userError, sorted } from './scheduler-harness.ts';

test('a failure reaches the client as it was reported, with the worker it happened on', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w');
  const id = client.submit({ key: 'x' });
  worker.fail('x');
  const why = failure('ERR_TASK', 'boom', 'x', 'w', bytes('error of x'));
  expect(client.taken('failed')).toEqual([{ op: 'failed', ids: [id], failure: why }]);
  client.close();
  farm.expectEmpty();
});

test('dependents fail with the same error and its origin, without running, in one message', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w', { nthreads: 2 });
  const x = client.submit({ key: 'x' });
  const fine = client.submit({ key: 'fine' });
  const y = client.submit({ key: 'y', deps: [[x, fine]] });
  const z = client.submit({ key: 'z', deps: [[y]] });
  worker.fail('x');
  const failed = client.taken('failed');
  expect(failed).toHaveLength(1);
  expect(sorted(failed[0]?.ids ?? [])).toEqual([x, y, z]);
  expect(failed[0]?.failure).toMatchObject({ origin: 'x', error: bytes('error of x') });
  expect(worker.keys()).toEqual(['fine']);
});

test('a task submitted on a failed one fails at once', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w');
  const x = client.submit({ key: 'x' });
  worker.fail('x');
  client.take();
  const y = client.submit({ key: 'y', deps: [[x]] });
  expect(client.taken('failed')[0]).toMatchObject({ ids: [y], failure: { origin: 'x' } });
});

test('a task with retries is tried so many times again, and no more', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w');
  client.submit({ key: 'x', options: { retries: 2 } });
  const attempts: number[] = [];
  while (worker.runs.length > 0) {
    attempts.push(...worker.runs.map(({ attempt }) => attempt));
    worker.fail('x');
  }
  expect(attempts).toEqual([1, 2, 3]);
  expect(client.taken('failed')).toHaveLength(1);
});

test('a retry that succeeds is a result like any other', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w');
  const id = client.submit({ key: 'x', options: { retries: 1 } });
  worker.fail('x');
  expect(client.taken('failed')).toEqual([]);
  worker.finish({ x: 'v' });
  expect(client.results()).toEqual(new Map([[id, 'v']]));
});

describe('retry by the client', () => {
  test('a failed task and its failed dependencies and dependents run again', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x' });
    const y = client.submit({ key: 'y', deps: [[x]] });
    const z = client.submit({ key: 'z', deps: [[y]] });
    worker.fail('x');
    client.take();
    client.retry(y);
    expect(sorted(client.taken('recomputing').flatMap(({ ids }) => ids))).toEqual([x, y, z]);
    for (const key of ['x', 'y', 'z']) worker.finish({ [key]: 'v' });
    expect([...client.results().keys()]).toEqual([x, y, z]);
  });

  test('it gets its retries anew, and may fail again', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x', options: { retries: 1 } });
    for (let round = 0; round < 2; round++) {
      worker.fail('x');
      worker.fail('x', userError('x', `round ${round}`));
      expect(client.taken('failed')[0]?.failure.message).toBe(`round ${round}`);
      client.retry(x);
    }
    expect(worker.keys()).toEqual(['x']);
  });

  test('a task that was refused stays refused: it would run without its inputs', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const refused = client.submit({ key: 'refused', deps: [[999]] });
    const dependent = client.submit({ key: 'dependent', deps: [[refused]] });
    client.take();
    client.retry(refused, dependent);
    expect(worker.keys()).toEqual([]);
    expect(client.taken('failed')).toMatchObject([
      { ids: [dependent], failure: { code: 'ERR_FOREIGN_FUTURE', origin: 'refused' } },
    ]);
    client.release(refused);
    client.retry(dependent);
    expect(worker.keys()).toEqual([]);
    expect(client.taken('failed')).toMatchObject([{ ids: [dependent] }]);
    client.close();
    farm.expectEmpty();
  });

  test('tasks that did not fail, and futures that are none, are left alone', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x' });
    worker.finish();
    client.take();
    client.retry(x, 77);
    expect(client.take()).toEqual([]);
    expect(worker.keys()).toEqual([]);
  });

  test('a dependency that was released is computed again for a retry', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x' });
    const y = client.submit({ key: 'y', deps: [[x]] });
    client.release(x);
    worker.finish({ x: 'v' });
    worker.fail('y');
    expect(farm.core.counts()).toMatchObject({ released: 1, erred: 1 });
    client.retry(y);
    expect(worker.keys()).toEqual(['x']);
    worker.finish({ x: 'v' });
    worker.finish({ y: 'w' });
    expect(client.results().get(y)).toBe('w');
    client.close();
    farm.expectEmpty();
  });
});

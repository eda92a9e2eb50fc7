import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts } from './scheduler-harness.ts';
import type { FakeWorker } from './scheduler-harness.ts';

function loads(workers: readonly FakeWorker[]): number[] {
  return workers.map(({ runs }) => runs.length);
}

describe('spreading', () => {
  test('six long tasks on six workers of two slots: one each', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const workers = Array.from({ length: 6 }, (_, i) => farm.worker(`w${i}`, { nthreads: 2 }));
    client.submit({ count: 6 });
    expect(loads(workers)).toEqual([1, 1, 1, 1, 1, 1]);
    client.submit({ count: 6 });
    expect(loads(workers)).toEqual([2, 2, 2, 2, 2, 2]);
  });

  test('tasks submitted one by one spread as well', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const workers = ['a', 'b', 'c'].map((name) => farm.worker(name, { nthreads: 2 }));
    for (let i = 0; i < 3; i++) client.submit();
    expect(loads(workers)).toEqual([1, 1, 1]);
  });

  test('workers get tasks by their number of slots', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const workers = [1, 3].map((nthreads) => farm.worker(`w${nthreads}`, { nthreads }));
    client.submit({ count: 10 });
    expect(loads(workers)).toEqual([1, 3]);
  });

  test('what is left of a block of micro-tasks is shared out, not given to the first that asks', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const workers = ['a', 'b'].map((name) => farm.worker(name));
    client.submit({ count: 102 });
    workers[0]?.finish('all', 10);
    expect(loads(workers)).toEqual([51, 1]);
    workers[1]?.finish('all', 10);
    // Half of all with what it has done: nothing is left to be sent in ever smaller parts.
    expect(loads(workers)).toEqual([51, 49]);
  });
});

describe('sending ahead', () => {
  const afterOne = (durationUs: number): number => {
    const farm = new SchedulerHarness({ prefetchTargetMs: 20, longTaskMs: 200 });
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 2 });
    client.submit({ count: 50_000 });
    expect(worker.runs.length).toBe(2);
    worker.finish('all', durationUs);
    return worker.runs.length;
  };
  test.each([
    ['nothing while tasks are long', 300_000, 2],
    ['one a slot while they are not', 100_000, 4],
    ['as many as last 20 ms', 1_000, 42],
    ['at most 4096 a slot', 1, 8_194],
  ])('%s', (_, durationUs, expected) => {
    expect(afterOne(durationUs)).toBe(expected);
  });

  test('a late worker finds long tasks waiting', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const early = farm.worker('early', { nthreads: 2 });
    client.submit({ count: 4 });
    const late = farm.worker('late', { nthreads: 2 });
    expect(loads([early, late])).toEqual([2, 2]);
  });

  test('tasks with resources are never sent ahead', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 4, resources: amounts({ GPU: 1 }) });
    client.submit({ key: 'm', count: 9, options: { resources: amounts({ GPU: 0.5 }) } });
    expect(worker.keys()).toEqual(['m-0', 'm-1']);
    worker.finish({ 'm-1': 'v' }, 1);
    expect(worker.keys()).toEqual(['m-0', 'm-2']);
  });
});

describe('resources', () => {
  test('fractions add up exactly', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 99, resources: amounts({ GPU: 1 }) });
    client.submit({ count: 30, options: { resources: amounts({ GPU: 0.1 }) } });
    expect(worker.runs.length).toBe(10);
    expect(worker.taken('run')[0]?.resources).toEqual([['GPU', 0.1]]);
  });

  test('amounts of bytes are exact', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 99, resources: amounts({ MEM: 1.1e12 }) });
    client.submit({ count: 30, options: { resources: amounts({ MEM: 1.1e11 }) } });
    expect(worker.runs.length).toBe(10);
  });

  test('a task takes as many slots as it says', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 4 });
    client.submit({ key: 'm', count: 3, options: { resources: amounts({ threads: 2 }) } });
    expect(worker.keys()).toEqual(['m-0', 'm-1']);
    expect(worker.taken('run')[0]).toMatchObject({ threads: 2, resources: [] });
  });

  test('a large request at the head does not hold up small ones, nor plain tasks', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 4, resources: amounts({ GPU: 2 }) });
    client.submit({ key: 'one', options: { resources: amounts({ GPU: 1 }) } });
    client.submit({ key: 'two', options: { resources: amounts({ GPU: 2 }) } });
    client.submit({ key: 'small', options: { resources: amounts({ GPU: 1 }) } });
    client.submit({ key: 'plain' });
    expect(worker.keys()).toEqual(['one', 'small', 'plain']);
    worker.finish({ one: 'v' });
    expect(worker.keys()).toEqual(['small', 'plain']);
    worker.finish({ small: 'v' });
    expect(worker.keys()).toEqual(['plain', 'two']);
  });

  test('a large request that has waited too long gets a worker cleared', () => {
    const farm = new SchedulerHarness({ reserveAfterMs: 100 });
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 2, resources: amounts({ GPU: 2 }) });
    client.submit({ key: 'small', count: 100, options: { resources: amounts({ GPU: 1 }) } });
    client.submit({ key: 'large', options: { resources: amounts({ GPU: 2 }), priority: 1 } });
    worker.finish({ 'small-0': 'v' });
    expect(worker.keys()).toEqual(['small-1', 'small-2']);
    farm.nowMs += 200;
    worker.finish({ 'small-1': 'v' });
    expect(worker.keys()).toEqual(['small-2']);
    worker.finish({ 'small-2': 'v' });
    expect(worker.keys()).toEqual(['large']);
    worker.finish({ large: 'v' });
    expect(worker.keys()).toEqual(['small-3', 'small-4']);
  });

  test('what waits for a slot gets the next one, though micro-tasks stream', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 1, resources: amounts({ GPU: 1 }) });
    client.submit({ key: 'm', count: 1_000 });
    worker.finish('all', 1_000);
    expect(worker.runs.length).toBe(21);
    client.submit({
      key: 'gpu',
      fn: 'unknown',
      options: { resources: amounts({ GPU: 1 }), priority: 1 },
    });
    worker.finish('all', 1_000);
    expect(worker.keys()).toEqual(['gpu']);
    worker.finish('all', 1_000);
    expect(worker.runs.length).toBe(21);
  });

  test('resources are given back only when the stopped run is really over', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { resources: amounts({ GPU: 1 }) });
    const options = { resources: amounts({ GPU: 1 }) };
    const a = client.submit({ key: 'a', options });
    client.submit({ key: 'b', options });
    client.release(a);
    expect(worker.taken('stop')).toEqual([{ op: 'stop', runs: [1], running: true }]);
    expect(worker.keys()).toEqual(['a']);
    worker.answerStops();
    expect(worker.keys()).toEqual(['b']);
  });
});

describe('no worker', () => {
  test('a task that no worker can run says so, and runs when a fitting one joins', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    farm.worker('plain', { nthreads: 4 });
    client.submit({ key: 'x', count: 3, options: { resources: amounts({ GPU: 1 }) } });
    expect(farm.core.counts()).toMatchObject({ 'no-worker': 3, queued: 0 });
    const gpu = farm.worker('gpu', { resources: amounts({ GPU: 1 }) });
    expect(gpu.keys()).toEqual(['x-0']);
    expect(farm.core.counts()).toMatchObject({ 'no-worker': 0, queued: 2 });
    gpu.lose();
    expect(farm.core.counts()).toMatchObject({ 'no-worker': 3, queued: 0, processing: 0 });
  });

  test('a restriction names workers, addresses or hosts', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const workers = ['a', 'b', 'c', 'd'].map((name) => farm.worker(name, { nthreads: 9 }));
    const names = ['a', 'tcp://b:1', 'host-of-c', 'd:1'];
    for (const name of names) client.submit({ key: `on ${name}`, options: { workers: [name] } });
    expect(workers.map((worker) => worker.keys())).toEqual(names.map((name) => [`on ${name}`]));
  });

  test('a strict restriction waits for its worker, a loose one takes another', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    const b = farm.worker('b', { nthreads: 2 });
    client.submit({ key: 'first', options: { workers: ['a'] } });
    client.submit({ key: 'strict', options: { workers: ['a'] } });
    client.submit({ key: 'loose', options: { workers: ['a'], allowOtherWorkers: true } });
    client.submit({ key: 'nowhere', options: { workers: ['x'], allowOtherWorkers: true } });
    expect(a.keys()).toEqual(['first']);
    expect(b.keys()).toEqual(['loose', 'nowhere']);
    a.finish();
    expect(a.keys()).toEqual(['strict']);
  });
});

describe('priority', () => {
  test('larger runs earlier, then earlier submissions, then lower indices', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit({ key: 'busy' });
    client.submit({ key: 'm', count: 2 });
    client.submit({ key: 'late' });
    client.submit({ key: 'urgent', options: { priority: 5 } });
    client.submit({ key: 'gpu', options: { priority: 9, workers: ['w'] } });
    const order: string[] = [];
    while (worker.runs.length > 0) {
      order.push(...worker.keys());
      worker.finish('all', 1e6);
    }
    expect(order).toEqual(['busy', 'gpu', 'urgent', 'm-0', 'm-1', 'late']);
  });

  test('a task that was sent back is first in its queue', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'm', count: 5 });
    a.lose();
    const b = farm.worker('b', { nthreads: 2 });
    expect(b.keys()).toEqual(['m-0', 'm-1']);
    expect(b.runs.map(({ attempt }) => attempt)).toEqual([2, 1]);
  });
});

describe('locality', () => {
  test('a task goes where most bytes of its inputs are', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a', { nthreads: 2 }), farm.worker('b', { nthreads: 2 })];
    const first = client.submit({ key: 'in', count: 2 });
    a.finishLarge('in-0', 10_000);
    b.finishLarge('in-1', 50_000);
    client.submit({ key: 'sum', deps: [[first, first + 1]] });
    expect(b.keys()).toEqual(['sum']);
    client.submit({ key: 'other', deps: [[first]] });
    expect(a.keys()).toEqual(['other']);
  });

  test('where the holder is full, another worker takes it rather than waiting', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    const x = client.submit({ key: 'x' });
    a.finishLarge('x', 50_000, 1e6);
    client.submit({ key: 'y', deps: [[x]] });
    client.submit({ key: 'z', deps: [[x]] });
    expect([a.keys(), b.keys()]).toEqual([['y'], ['z']]);
  });

  test('a copy counts like the original', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    const x = client.submit({ key: 'x' });
    a.finishLarge('x', 50_000);
    b.hold(1);
    a.lose();
    expect(client.taken('recomputing')).toEqual([]);
    client.submit({ key: 'y', deps: [[x]] });
    expect(b.keys()).toEqual(['y']);
  });
});

describe('memory that tasks ask for', () => {
  const NEED = { options: { resources: [['memory', 2e9]] } } as const;

  test("is shared out of a worker's limit, and tasks that ask for none do not count", () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const small = farm.worker('small', { nthreads: 8, memoryLimitBytes: 5e9 });
    client.submit({ key: 'm', count: 4, ...NEED });
    expect(small.runs).toHaveLength(2);
    client.submit({ key: 'plain', count: 3 });
    expect(small.runs).toHaveLength(5);
    small.finish('all');
    expect(small.keys()).toEqual(['m-2', 'm-3']);
  });

  test('is nowhere to be had where it is more than every limit', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    farm.worker('small', { nthreads: 8, memoryLimitBytes: 1e9 });
    client.submit({ key: 'x', ...NEED });
    expect(farm.core.counts()).toMatchObject({ 'no-worker': 1 });
    const unlimited = farm.worker('unlimited', { memoryLimitBytes: null });
    expect(unlimited.keys()).toEqual(['x']);
  });
});

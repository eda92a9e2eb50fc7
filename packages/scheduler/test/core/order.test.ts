import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';
import { VirtualWorkers } from './virtual-workers.ts';

const MB = 1_000_000;

/** Keys in the order in which one worker of one slot runs them. */
function runAll(worker: FakeWorker, durationUs = 300_000): string[] {
  const order: string[] = [];
  while (worker.runs.length > 0) {
    order.push(...worker.keys());
    worker.finish('all', durationUs);
  }
  return order;
}

describe('submissions', () => {
  test('earlier submissions come first', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit({ key: 'a', count: 3 });
    farm.nowMs += 1_000;
    client.submit({ key: 'b', count: 2 });
    expect(runAll(worker)).toEqual(['a-0', 'a-1', 'a-2', 'b-0', 'b-1']);
  });

  test('a burst of submits is one submission; whoever began first comes first', () => {
    const farm = new SchedulerHarness();
    const [one, other] = [farm.client('c'), farm.client('d')];
    const worker = farm.worker('w');
    one.submit({ key: 'a' });
    farm.nowMs += 60;
    other.submit({ key: 'x' });
    farm.nowMs += 30;
    one.submit({ key: 'b' });
    farm.nowMs += 90;
    one.submit({ key: 'c' });
    farm.nowMs += 200;
    one.submit({ key: 'd' });
    expect(runAll(worker)).toEqual(['a', 'b', 'c', 'x', 'd']);
  });

  test('within a submission a chain is followed to its end before the next is begun', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x', count: 4 });
    const y = client.submit({ key: 'y', count: 4, deps: [[x], [x + 1], [x + 2], [x + 3]] });
    client.submit({ key: 'z', count: 4, deps: [[y], [y + 1], [y + 2], [y + 3]] });
    const chains = [0, 1, 2, 3].flatMap((i) => [`x-${i}`, `y-${i}`, `z-${i}`]);
    expect(runAll(worker)).toEqual(chains);
  });

  test('what consumes a submission that still runs need not wait for its end', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x', count: 4 });
    worker.finish({ 'x-0': 'v' }, 300_000);
    farm.nowMs += 1_000;
    client.submit({ key: 'y', count: 4, deps: [[x], [x + 1], [x + 2], [x + 3]] });
    client.submit({ key: 'other' });
    const order = ['x-1', 'y-0', 'y-1', 'x-2', 'y-2', 'x-3', 'y-3', 'other'];
    expect(runAll(worker)).toEqual(order);
  });

  test('a new submission on old results comes after what was submitted before it', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const old = client.submit({ key: 'old' });
    worker.finish('all', 300_000);
    farm.nowMs += 1_000;
    client.submit({ key: 'a', count: 3 });
    farm.nowMs += 1_000;
    client.submit({ key: 'b', deps: [[old]] });
    expect(runAll(worker)).toEqual(['a-0', 'a-1', 'a-2', 'b']);
  });

  test('tasks behind one shared input go depth first too', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x' });
    const y = client.submit({ key: 'y', count: 3, deps: [[x], [x], [x]] });
    client.submit({ key: 'z', count: 3, deps: [[y], [y + 1], [y + 2]] });
    expect(runAll(worker)).toEqual(['x', 'y-0', 'z-0', 'y-1', 'z-1', 'y-2', 'z-2']);
  });

  test('user priority is above all of that', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x', count: 2 });
    client.submit({ key: 'y', count: 2, deps: [[x], [x + 1]] });
    farm.nowMs += 1_000;
    client.submit({ key: 'urgent', options: { priority: 1 } });
    expect(runAll(worker)).toEqual(['x-0', 'urgent', 'y-0', 'x-1', 'y-1']);
  });
});

describe('what a result waits for is next', () => {
  test('the second of a pair, however far apart they were submitted', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const a = client.submit({ key: 'a', count: 50 });
    const b = client.submit({ key: 'b', count: 50 });
    const deps = Array.from({ length: 50 }, (_, i) => [a + i, b + i]);
    client.submit({ key: 'sum', count: 50, deps });
    const order = runAll(worker);
    expect(order.slice(0, 6)).toEqual(['a-0', 'b-0', 'sum-0', 'a-1', 'b-1', 'sum-1']);
    expect(order.length).toBe(150);
  });

  test('ready inputs of an input that is waiting are as well', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const a = client.submit({ key: 'a', count: 9 });
    const b = client.submit({ key: 'b', count: 9 });
    const c = client.submit({ key: 'c', deps: [[b + 8]] });
    client.submit({ key: 'sum', deps: [[a, c]] });
    expect(runAll(worker).slice(0, 5)).toEqual(['a-0', 'b-8', 'c', 'sum', 'a-1']);
  });
});

/** A tree over `count` roots, of which only the top stays wanted. */
function submitTree(client: FakeClient, count: number, fanIn: number): void {
  const first = client.submit({ key: 'root', fn: 'root', count });
  let level = Array.from({ length: count }, (_, i) => first + i);
  for (let depth = 0; level.length > 1; depth++) {
    const deps: number[][] = [];
    for (let at = 0; at < level.length; at += fanIn) deps.push(level.slice(at, at + fanIn));
    const next = client.submit({ key: `sum${depth}`, fn: 'sum', count: deps.length, deps });
    client.release(...level);
    level = deps.map((_, i) => next + i);
  }
}

describe('memory', () => {
  test.each([
    [1, 1, 2],
    [1, 4, 2],
    [4, 1, 2],
    [3, 2, 2],
    [4, 4, 2],
    [2, 4, 4],
  ])(
    'results of roots stay within slots + 1 on each worker: %i workers, %i slots, sums of %i',
    (count, nthreads, fanIn) => {
      const farm = new SchedulerHarness();
      const client = farm.client('c');
      const names = Array.from({ length: count }, (_, i) => `w${i}`);
      const workers = names.map((name) => farm.worker(name, { nthreads }));
      const slots = new Map(workers.map((worker) => [worker, nthreads]));
      submitTree(client, 256, fanIn);
      const cluster = new VirtualWorkers(farm, slots, (key) =>
        key.startsWith('root') ? { durationMs: 100, size: 10 * MB } : { durationMs: 5, size: 8 },
      );
      let most = 0;
      let copied = 0;
      cluster.onStep = () => {
        for (const { made, data } of cluster.results('root')) {
          most = Math.max(most, made);
          copied = Math.max(copied, data);
        }
      };
      cluster.play();
      expect(farm.core.counts()).toMatchObject({ memory: 1, waiting: 0, processing: 0 });
      expect(most).toBeGreaterThan(0);
      // For sums of pairs that is slots + 1: one more waits for its partner.
      expect(most).toBeLessThanOrEqual(nthreads + fanIn - 1);
      // With the copies that sums have brought there for as long as they run.
      expect(copied).toBeLessThanOrEqual(nthreads + 2 * fanIn);
    },
  );

  test('large results with consumers are not made ahead of them, small ones are', () => {
    const most = (size: number): number => {
      const farm = new SchedulerHarness();
      const client = farm.client('c');
      const worker = farm.worker('w');
      const x = client.submit({ key: 'x', fn: 'load', count: 100 });
      client.submit({
        key: 'y',
        fn: 'use',
        count: 100,
        deps: Array.from({ length: 100 }, (_, i) => [x + i]),
      });
      client.release(...Array.from({ length: 100 }, (_, i) => x + i));
      const work = { durationMs: 1, size };
      const cluster = new VirtualWorkers(farm, new Map([[worker, 1]]), () => work);
      let found = 0;
      cluster.onStep = () => {
        found = Math.max(found, worker.keys().filter((key) => key.startsWith('x')).length);
      };
      cluster.play();
      return found;
    };
    expect(most(10 * MB)).toBeLessThanOrEqual(2);
    expect(most(100)).toBeGreaterThan(10);
  });

  test('consecutive roots that are used together are made together', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const busy = farm.worker('busy');
    client.submit({ key: 'busy' });
    const x = client.submit({ key: 'x', count: 4 });
    client.submit({
      key: 'sum',
      count: 2,
      deps: [
        [x, x + 1],
        [x + 2, x + 3],
      ],
    });
    busy.leave();
    // Both join before anything is placed on either.
    const hold = client.submit({ key: 'hold', options: { priority: 9, workers: ['a', 'b'] } });
    client.release(hold);
    const event = (name: string): FakeWorker => farm.worker(name, { nthreads: 4 });
    const [a] = [event('a')];
    expect(a.keys()).toEqual(['x-0', 'x-1', 'x-2', 'x-3']);
  });

  test('a task whose inputs no worker has memory for errs at once and says why', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { memoryLimitBytes: 100 * MB, nthreads: 2 });
    farm.worker('b', { memoryLimitBytes: 150 * MB, nthreads: 2, resources: amounts({ GPU: 1 }) });
    const x = client.submit({ key: 'x', count: 2, options: { workers: ['a'] } });
    a.finishLarge('x-0', 90 * MB);
    a.finishLarge('x-1', 90 * MB);
    client.take();
    client.submit({ key: 'huge', deps: [[x, x + 1]] });
    const [failed] = client.taken('failed');
    expect(failed?.failure).toMatchObject({ code: 'ERR_NO_WORKER', origin: 'huge' });
    expect(failed?.failure.message).toContain('180000000 bytes');
    expect(failed?.failure.message).toContain('150000000 bytes (b)');
    farm.worker('c', { memoryLimitBytes: 200 * MB });
    client.submit({ key: 'fits', deps: [[x, x + 1]] });
    expect(farm.core.counts()).toMatchObject({ processing: 1, erred: 1 });
  });

  test('a task with inputs too large for the free worker goes to one that has memory', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const large = farm.worker('large', { memoryLimitBytes: 500 * MB });
    const x = client.submit({ key: 'x' });
    large.finishLarge('x', 90 * MB);
    client.submit({ key: 'busy' });
    const small = farm.worker('small', { memoryLimitBytes: 50 * MB });
    client.submit({ key: 'y', deps: [[x]] });
    expect(large.keys()).toEqual(['busy', 'y']);
    expect(small.keys()).toEqual([]);
  });
});

import { describe, expect, test } from 'vitest';

import { SchedulerHarness } from './scheduler-harness.ts';
import type { FakeWorker } from './scheduler-harness.ts';

const LONG_US = 300_000;

/** Keys in the order in which a worker of two slots runs what is ready, one of them being kept. */
function runBut(worker: FakeWorker, kept: readonly string[]): string[] {
  const order: string[] = [];
  for (;;) {
    const next = worker.keys().filter((key) => !kept.includes(key));
    if (next.length === 0) return order;
    order.push(...next);
    worker.finish(Object.fromEntries(next.map((key) => [key, 'v'])), LONG_US);
  }
}

describe('what a task submits', () => {
  test('comes before the siblings of that task that have not started', () => {
    const farm = new SchedulerHarness();
    const worker = farm.worker('w', { nthreads: 2 });
    const client = farm.client('c');
    client.submit({ key: 'p', count: 4 });
    expect(worker.keys()).toEqual(['p-0', 'p-1']);
    farm.nowMs += 1_000;
    const inner = farm.client('inside p-0');
    inner.submit({ key: 'child', count: 2, parent: 'p-0' });
    expect(runBut(worker, ['p-0'])).toEqual(['p-1', 'child-0', 'child-1', 'p-2', 'p-3']);
    worker.finish('all');
  });

  test('comes before later submissions, and after earlier ones', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    client.submit({ key: 'early', options: { workers: ['w'] } });
    client.submit({ key: 'early-still', options: { workers: ['nobody'] } });
    farm.nowMs += 1_000;
    client.submit({ key: 'parent' });
    const worker = farm.worker('w', { nthreads: 2 });
    expect(worker.keys()).toEqual(['early', 'parent']);
    farm.nowMs += 1_000;
    client.submit({ key: 'late', count: 2 });
    farm.client('inside').submit({ key: 'child', count: 2, parent: 'parent' });
    expect(runBut(worker, ['parent'])).toEqual(['early', 'child-0', 'child-1', 'late-0', 'late-1']);
  });

  test('goes deepest first', () => {
    const farm = new SchedulerHarness();
    const worker = farm.worker('w', { nthreads: 3 });
    const client = farm.client('c');
    client.submit({ key: 'p', count: 4 });
    const inner = farm.client('inside p-0');
    inner.submit({ key: 'child', count: 3, parent: 'p-0' });
    worker.finish({ 'p-1': 'v' }, LONG_US);
    expect(worker.keys()).toEqual(['p-0', 'p-2', 'child-0']);
    farm.client('inside child-0').submit({ key: 'grandchild', count: 2, parent: 'child-0' });
    expect(runBut(worker, ['p-0', 'child-0'])).toEqual([
      'p-2',
      'grandchild-0',
      'grandchild-1',
      'child-1',
      'child-2',
      'p-3',
    ]);
  });

  test('has its own priority, which is above that', () => {
    const farm = new SchedulerHarness();
    const worker = farm.worker('w', { nthreads: 2 });
    const client = farm.client('c');
    client.submit({ key: 'p', count: 2 });
    client.submit({ key: 'urgent', options: { priority: 1 } });
    farm.client('inside').submit({ key: 'child', parent: 'p-0' });
    expect(runBut(worker, ['p-0'])).toEqual(['p-1', 'urgent', 'child']);
  });

  test('is like any other work where no such task is known, or it does not run', () => {
    const farm = new SchedulerHarness();
    const worker = farm.worker('w', { nthreads: 2 });
    const client = farm.client('c');
    client.submit({ key: 'done' });
    worker.finish();
    farm.nowMs += 1_000;
    client.submit({ key: 'p', fn: 'g', count: 4 });
    farm.nowMs += 1_000;
    const inner = farm.client('d');
    inner.submit({ key: 'a', parent: 'nobody' });
    inner.submit({ key: 'b', parent: 'done' });
    inner.submit({ key: 'c', parent: 'p-3' });
    expect(runBut(worker, ['p-0'])).toEqual(['p-1', 'p-2', 'p-3', 'a', 'b', 'c']);
  });

  test('frees memory depth first: each parent is done before the next begins', () => {
    const farm = new SchedulerHarness();
    const worker = farm.worker('w', { nthreads: 2 });
    farm.client('c').submit({ key: 'p', count: 3, options: { workers: ['w'] } });
    const inner = farm.client('inside');
    inner.submit({ key: 'x', count: 2, parent: 'p-0' });
    inner.submit({ key: 'y', count: 2, parent: 'p-1' });
    // Both parents wait for what they submitted, in slots of their own.
    expect(worker.keys()).toEqual(['p-0', 'p-1']);
    worker.finish({ 'p-1': 'v' }, LONG_US);
    expect(runBut(worker, ['p-0'])).toEqual(['x-0', 'x-1', 'y-0', 'y-1', 'p-2']);
  });
});

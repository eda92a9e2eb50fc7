import { describe, expect, test } from 'vitest';

import { SchedulerHarness } from './scheduler-harness.ts';
import type { FakeWorker } from './scheduler-harness.ts';

/** Runs what a worker of one slot is told, `count` times; the keys without their index. */
function runSome(worker: FakeWorker, count: number, durationUs = 300_000): string[] {
  const order: string[] = [];
  while (worker.runs.length > 0 && order.length < count) {
    order.push(...worker.keys());
    worker.finish('all', durationUs);
  }
  return order.map((key) => key.replace(/-\d+$/, ''));
}

function share(order: readonly string[], key: string): number {
  return order.filter((name) => name === key).length / order.length;
}

describe('clients', () => {
  test('without weights are served in the order of their submissions', () => {
    const farm = new SchedulerHarness();
    const [one, other] = [farm.client('c'), farm.client('d')];
    const worker = farm.worker('w');
    one.submit({ key: 'a', count: 5 });
    other.submit({ key: 'b', count: 5 });
    expect(runSome(worker, 6)).toEqual(['a', 'a', 'a', 'a', 'a', 'b']);
  });

  test('with weights get time by their weights, whoever came first', () => {
    const farm = new SchedulerHarness();
    const one = farm.client('c', { weight: 1 });
    const other = farm.client('d', { weight: 3 });
    const worker = farm.worker('w');
    one.submit({ key: 'a', count: 100 });
    other.submit({ key: 'b', count: 100 });
    const order = runSome(worker, 81);
    expect(share(order.slice(1), 'b')).toBeCloseTo(0.75, 1);
  });

  test('with weights cannot be pushed aside by the priority of another', () => {
    const farm = new SchedulerHarness();
    const one = farm.client('c', { weight: 1 });
    const other = farm.client('d', { weight: 1 });
    const worker = farm.worker('w');
    one.submit({ key: 'low', count: 50 });
    other.submit({ key: 'high', count: 50, options: { priority: 100 } });
    one.submit({ key: 'mid', count: 50, options: { priority: 1 } });
    const order = runSome(worker, 41).slice(1);
    expect(share(order, 'high')).toBeCloseTo(0.5, 1);
    expect(share(order, 'mid')).toBeCloseTo(0.5, 1);
  });

  test('without a weight share one share with others that have none', () => {
    const farm = new SchedulerHarness();
    const [c, d] = [farm.client('c'), farm.client('d')];
    const e = farm.client('e', { weight: 1 });
    const worker = farm.worker('w');
    c.submit({ key: 'c', count: 50 });
    d.submit({ key: 'd', count: 50 });
    e.submit({ key: 'e', count: 50 });
    expect(share(runSome(worker, 61).slice(1), 'e')).toBeCloseTo(0.5, 1);
  });

  test('that were silent for long have not saved up for it', () => {
    const farm = new SchedulerHarness();
    const one = farm.client('c', { weight: 1 });
    const other = farm.client('d', { weight: 1 });
    const worker = farm.worker('w');
    one.submit({ key: 'a', count: 200 });
    runSome(worker, 50);
    other.submit({ key: 'b', count: 100 });
    const order = runSome(worker, 41).slice(1);
    expect(share(order, 'b')).toBeCloseTo(0.5, 1);
  });

  test('get time, not tasks: one with long tasks gets fewer of them', () => {
    const farm = new SchedulerHarness();
    const one = farm.client('c', { weight: 1 });
    const other = farm.client('d', { weight: 1 });
    const worker = farm.worker('w');
    const spent = { short: 0, long: 0 };
    one.submit({ key: 'short', fn: 'short', count: 400 });
    other.submit({ key: 'long', fn: 'long', count: 100 });
    for (let i = 0; i < 130; i++) {
      const [run] = worker.runs;
      if (run === undefined) break;
      const isLong = run.key.startsWith('long');
      const durationUs = isLong ? 1_000_000 : 250_000;
      if (i > 10) spent[isLong ? 'long' : 'short'] += durationUs;
      worker.finish({ [run.key]: 'v' }, durationUs);
    }
    expect(spent.short / spent.long).toBeGreaterThan(0.8);
    expect(spent.short / spent.long).toBeLessThan(1.25);
  });

  test('that leave take their share with them', () => {
    const farm = new SchedulerHarness();
    const one = farm.client('c', { weight: 1 });
    const other = farm.client('d', { weight: 5 });
    const worker = farm.worker('w');
    one.submit({ key: 'a', count: 9 });
    other.submit({ key: 'b', count: 9 });
    other.close();
    worker.answerStops();
    expect(runSome(worker, 20)).toEqual(Array.from({ length: 9 }, () => 'a'));
    one.close();
    farm.expectEmpty();
  });
});

import type { PrefixInfo } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness } from './scheduler-harness.ts';

function prefix(farm: SchedulerHarness, name: string): PrefixInfo | undefined {
  return farm.core.info(farm.nowMs).prefixes.find((info) => info.name === name);
}

describe('a prefix', () => {
  test('averages durations and sizes, half old and half new', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit({ key: 'm', fn: 'f', count: 3 });
    expect(prefix(farm, 'f')).toMatchObject({ meanMs: null, meanBytes: null, finished: 0 });
    worker.finishLarge('m-0', 1_000, 400_000);
    expect(prefix(farm, 'f')).toMatchObject({ meanMs: 400, meanBytes: 1_000, finished: 1 });
    worker.finishLarge('m-1', 3_000, 600_000);
    expect(prefix(farm, 'f')).toMatchObject({ meanMs: 500, meanBytes: 2_000, finished: 2 });
  });

  test('counts its tasks by state', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const x = client.submit({ key: 'x', fn: 'load', count: 5 });
    client.submit({ key: 'y', fn: 'use', count: 2, deps: [[x], [x + 1]] });
    expect(prefix(farm, 'load')?.tasks).toMatchObject({ 'no-worker': 5, queued: 0 });
    const worker = farm.worker('w');
    expect(prefix(farm, 'load')?.tasks).toMatchObject({ queued: 4, processing: 1 });
    worker.finish('all', 300_000);
    expect(prefix(farm, 'load')?.tasks).toMatchObject({ queued: 4, memory: 1 });
    expect(prefix(farm, 'use')?.tasks).toMatchObject({ waiting: 1, processing: 1 });
    worker.fail('y-0');
    expect(prefix(farm, 'use')?.tasks).toMatchObject({ waiting: 1, erred: 1 });
    client.close();
    worker.answerStops();
    const tasks = prefix(farm, 'load')?.tasks ?? {};
    expect(Object.values(tasks).every((count) => count === 0)).toBe(true);
  });

  test('is explored one task a slot while its duration is unknown', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 3 });
    client.submit({ key: 'm', fn: 'f', count: 100 });
    expect(worker.runs.length).toBe(3);
    worker.finish({ 'm-0': 'v' }, 1_000);
    expect(worker.runs.length).toBeGreaterThan(20);
  });

  test('is unknown again once a task takes more than twice its average', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit({ key: 'm', fn: 'f', count: 100 });
    worker.finish('all', 100_000);
    const [run] = worker.runs;
    worker.beat(run?.run ?? 0);
    farm.nowMs += 200;
    worker.beat(run?.run ?? 0);
    expect(prefix(farm, 'f')?.meanMs).toBe(100);
    farm.nowMs += 1;
    worker.beat(run?.run ?? 0);
    expect(prefix(farm, 'f')?.meanMs).toBeNull();
    worker.finish({ [run?.key ?? '']: 'v' }, 250_000);
    expect(prefix(farm, 'f')?.meanMs).toBe(250);
  });
});

test('occupancy is what a worker has still to do, and grows with what takes longer', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w');
  const occupancy = (): number | undefined => farm.core.info(farm.nowMs).workers[0]?.occupancyMs;
  client.submit({ key: 'm', fn: 'f', count: 3 });
  expect(occupancy()).toBe(500);
  worker.finish('all', 100_000);
  expect(occupancy()).toBe(200);
  const [run] = worker.runs;
  worker.beat(run?.run ?? 0);
  farm.nowMs += 1_000;
  worker.beat(run?.run ?? 0);
  expect(occupancy()).toBe(2_500);
  worker.finish('all', 100_000);
  expect(occupancy()).toBe(0);
});

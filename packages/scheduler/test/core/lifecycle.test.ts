import { shutdown } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts } from './scheduler-harness.ts';

describe('workers that are sent away', () => {
  test('a second worker of the same name; the first is unharmed', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const first = farm.worker('w');
    const second = farm.worker('w');
    const reason = 'a worker named w is connected already: choose another --name';
    expect(second.take()).toEqual([{ op: 'close-worker', reason }]);
    expect(farm.others()).toEqual([{ do: 'drop-worker', worker: second.session, reason }]);
    second.lose();
    client.submit({ key: 'x' });
    expect(first.keys()).toEqual(['x']);
    first.lose();
    expect(farm.worker('w').keys()).toEqual(['x']);
  });

  test('a worker without threads', () => {
    const farm = new SchedulerHarness();
    farm.worker('w', { nthreads: 0 });
    expect(farm.others()[0]).toMatchObject({ do: 'drop-worker' });
    expect(farm.core.statistics().workers).toBe(0);
  });

  test('senseless resources count as none', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    farm.worker('w', { resources: amounts({ GPU: Number.NaN, MEM: -1 }) });
    client.submit({ options: { resources: amounts({ GPU: 1 }) } });
    expect(farm.core.counts()['no-worker']).toBe(1);
  });
});

describe('shutdown', () => {
  test('workers and clients are told; it ends when the workers have gone', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit();
    worker.take();
    client.take();
    client.say(shutdown('done'));
    expect(worker.take()).toEqual([{ op: 'close-worker', reason: 'done' }]);
    expect(client.take()).toEqual([{ op: 'goodbye', reason: 'done' }]);
    expect(farm.others()).toEqual([{ do: 'wake-at', atMs: farm.nowMs + 5_000 }]);
    worker.lose();
    expect(farm.others()).toEqual([{ do: 'exit', reason: 'done' }]);
    farm.tick(10_000);
    expect(farm.others()).toEqual([]);
  });

  test('it ends after a while though a worker stays', () => {
    const farm = new SchedulerHarness();
    farm.worker('w');
    farm.handle({ kind: 'shutdown-asked', nowMs: farm.nowMs, reason: 'SIGTERM' });
    farm.others();
    farm.tick(4_999);
    expect(farm.others()).toEqual([]);
    farm.tick(1);
    expect(farm.others()).toEqual([{ do: 'exit', reason: 'SIGTERM' }]);
  });

  test('who comes late is sent away', () => {
    const farm = new SchedulerHarness();
    farm.worker('w');
    farm.handle({ kind: 'shutdown-asked', nowMs: farm.nowMs, reason: 'SIGTERM' });
    farm.others();
    farm.worker('late');
    farm.client('late');
    expect(farm.others().map((other) => other.do)).toEqual(['drop-worker', 'drop-client']);
  });
});

describe('idle timeout', () => {
  test('it ends after so long without work', () => {
    const farm = new SchedulerHarness({ idleTimeoutMs: 1_000 });
    const client = farm.client('c');
    expect(farm.others()).toContainEqual({ do: 'wake-at', atMs: farm.nowMs + 1_000 });
    farm.tick(900);
    client.submit({ key: 'x' });
    farm.tick(5_000);
    const worker = farm.worker('w');
    farm.tick(5_000);
    worker.finish();
    farm.tick(999);
    expect(farm.others().every((other) => other.do === 'wake-at')).toBe(true);
    farm.tick(1);
    worker.lose();
    expect(farm.others()).toContainEqual({ do: 'exit', reason: 'idle for 1.00 s' });
  });

  test('it never ends without a timeout', () => {
    const farm = new SchedulerHarness();
    farm.tick(1e9);
    expect(farm.others()).toEqual([]);
  });
});

test('sessions that are gone or never were are not listened to', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w');
  client.define('f');
  worker.lose();
  worker.finishRun(1);
  worker.lose();
  client.lose();
  client.say({ op: 'close-client' });
  client.lose();
  farm.expectNoMore();
  farm.expectEmpty();
  expect(farm.core.statistics()).toMatchObject({ clients: 0, workers: 0, staleReports: 0 });
});

test('a clock that is set back does no harm', () => {
  const farm = new SchedulerHarness({ idleTimeoutMs: 1_000 });
  const client = farm.client('c');
  farm.worker('w');
  farm.nowMs -= 100_000;
  client.submit();
  farm.tick(1);
  expect(farm.others().some((other) => other.do === 'exit')).toBe(false);
});

test('deadlines keep their distance where the clock is set back', () => {
  const farm = new SchedulerHarness({ idleTimeoutMs: 10_000 });
  farm.tick(4_000);
  farm.tick(-3_600_000);
  farm.client('c').close();
  farm.others();
  farm.tick(9_000);
  expect(farm.others().some((other) => other.do === 'exit')).toBe(false);
  farm.tick(1_000);
  expect(farm.others().some((other) => other.do === 'exit')).toBe(true);
});

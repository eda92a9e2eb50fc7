import { failure } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts } from './scheduler-harness.ts';

const RETIRE = { workers: ['a'], count: 0, close: true, timeoutMs: 60_000 };

describe('a worker that retires', () => {
  test('gets no new tasks, hands back unstarted ones, and ends those that run', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'short' });
    a.finish('all', 100);
    client.submit({ key: 'm', count: 3 });
    expect(a.keys()).toEqual(['m-0', 'm-1', 'm-2']);
    const b = farm.worker('b');
    const request = client.ask('retire-workers', RETIRE);
    expect(a.stopping).toHaveLength(3);
    // The first has started: only the others come back.
    const [first, ...others] = a.runs;
    a.runs = first === undefined ? [] : [first];
    a.say({ op: 'stopped', runs: others.map(({ run }) => run), kept: [first?.run ?? 0] });
    expect(b.keys()).toEqual(['m-1', 'm-2']);
    a.finish({ 'm-0': 'v' });
    expect(a.taken('close-worker')).toHaveLength(1);
    expect(client.answer(request)).toBeUndefined();
    a.leave();
    a.lose();
    expect(client.answer(request)).toEqual({ retired: ['a'], kept: [] });
  });

  test('is closed once what only it holds is copied to the emptiest others', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b, c] = [farm.worker('a'), farm.worker('b'), farm.worker('c')];
    client.submit({ key: 'on-b', options: { workers: ['b'] } });
    b.finishLarge('on-b', 9_000);
    const x = client.submit({ key: 'x', options: { workers: ['a'] } });
    a.finishLarge('x', 5_000);
    client.submit({ key: 'small', options: { workers: ['a'] } });
    a.finish({ small: 'v' });
    const request = client.ask('retire-workers', RETIRE);
    expect(c.taken('acquire')).toMatchObject([{ size: 5_000, holders: ['tcp://a:1'] }]);
    expect(b.acquiring).toEqual([]);
    expect(a.taken('close-worker')).toEqual([]);
    c.takeIn();
    expect(a.taken('close-worker')).toHaveLength(1);
    client.take();
    a.lose();
    const heard = client.take();
    expect(heard).toMatchObject([{ op: 'reply', request, answer: { retired: ['a'] } }]);
    const y = client.submit({ key: 'y', deps: [[x]] });
    c.finish();
    expect(client.results().get(y)).toBe('r(y)');
  });

  test('that is dropped, since it does not close, holds up no copy that was to go there', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const b = farm.worker('b');
    const x = client.submit({ key: 'x' });
    b.finishLarge('x', 5_000);
    const a = farm.worker('a');
    const copying = client.ask('replicate', { ids: [x], copies: 2, workers: [] });
    expect(a.acquiring).toHaveLength(1);
    client.ask('retire-workers', RETIRE);
    expect(a.taken('close-worker')).toHaveLength(1);
    farm.tick(60_000);
    expect(client.answer(copying)).toMatchObject({ copied: 0, failed: [{ key: 'x' }] });
  });

  test('hands on values that were on their way to it', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    client.scatter(['one']);
    const b = farm.worker('b');
    const request = client.ask('retire-workers', { ...RETIRE, timeoutMs: 0 });
    expect(a.taken('close-worker')).toEqual([]);
    a.takeIn();
    expect(b.acquiring).toHaveLength(1);
    b.takeIn();
    expect(a.taken('close-worker')).toHaveLength(1);
    a.leave();
    a.lose();
    expect(client.answer(request)).toEqual({ retired: ['a'], kept: [] });
    expect(client.taken('failed')).toEqual([]);
  });

  test('goes on as before where nobody can take its data', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'x' });
    a.finishLarge('x', 5_000);
    const request = client.ask('retire-workers', RETIRE);
    const reason = 'no-recipients: x: no other worker has room for it';
    expect(client.answer(request)).toEqual({ retired: [], kept: [{ worker: 'a', reason }] });
    client.submit({ key: 'y' });
    expect(a.keys()).toEqual(['y']);
  });

  test('tries another recipient where one cannot fetch, and gives up after the last', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b, c] = [farm.worker('a'), farm.worker('b'), farm.worker('c')];
    client.submit({ key: 'x', options: { workers: ['a'] } });
    a.finishLarge('x', 5_000);
    const request = client.ask('retire-workers', RETIRE);
    b.failToAcquire();
    c.lose();
    const reason = 'no-recipients: x: worker c: it was lost';
    expect(client.answer(request)).toEqual({ retired: [], kept: [{ worker: 'a', reason }] });
  });

  test('does not fill workers beyond their memory', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    farm.worker('b', { memoryLimitBytes: 4_000 });
    client.submit({ key: 'x', options: { workers: ['a'] } });
    a.finishLarge('x', 5_000);
    const request = client.ask('retire-workers', RETIRE);
    expect(client.answer(request)).toMatchObject({ retired: [], kept: [{ worker: 'a' }] });
  });

  test('waits for running tasks only so long; they run elsewhere and nobody is blamed', () => {
    const farm = new SchedulerHarness({ allowedFailures: 0 });
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'long' });
    const b = farm.worker('b');
    a.beat(...a.runs.map(({ run }) => run));
    const request = client.ask('retire-workers', { ...RETIRE, timeoutMs: 1_000 });
    a.say({ op: 'stopped', runs: [], kept: a.stopping.splice(0) });
    farm.tick(1_000);
    expect(a.taken('close-worker')).toHaveLength(1);
    a.lose();
    expect(client.answer(request)).toEqual({ retired: ['a'], kept: [] });
    expect(b.keys()).toEqual(['long']);
  });

  test('is dropped where it does not close', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    const request = client.ask('retire-workers', RETIRE);
    farm.tick(5_000);
    expect(farm.others()).toContainEqual(
      expect.objectContaining({ do: 'drop-worker', worker: a.session }),
    );
    expect(client.answer(request)).toMatchObject({ retired: ['a'] });
  });

  test('may stay connected, without tasks', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    const request = client.ask('retire-workers', { ...RETIRE, close: false });
    expect(client.answer(request)).toEqual({ retired: ['a'], kept: [] });
    client.submit({ key: 'x' });
    expect(a.take()).toEqual([]);
  });

  test('that is not there is named', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const request = client.ask('retire-workers', { ...RETIRE, workers: ['ghost'] });
    expect(client.answer(request)).toMatchObject({ kept: [{ worker: 'ghost' }] });
  });

  test('may be any of them: idle ones go first, those with long tasks never', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b, c] = [farm.worker('a'), farm.worker('b'), farm.worker('c')];
    client.submit({ key: 'x', options: { workers: ['b'] } });
    b.finishLarge('x', 5_000);
    client.submit({ key: 'long', fn: 'unknown', options: { workers: ['a'] } });
    expect(a.keys()).toEqual(['long']);
    const request = client.ask('workers-to-close', { count: 3 });
    expect(client.answer(request)).toEqual(['c', 'b']);
    client.ask('retire-workers', { ...RETIRE, workers: [], count: 1 });
    expect(c.taken('close-worker')).toHaveLength(1);
  });
});

describe('the adaptive target', () => {
  const ask = (farm: SchedulerHarness, targetDurationMs = 5_000): unknown => {
    const client = farm.client('asker');
    return client.answer(client.ask('adaptive-target', { targetDurationMs, coolDownMs: 0 }));
  };

  test('is 0 without work, and at least 1 with some', () => {
    const farm = new SchedulerHarness();
    expect(ask(farm)).toEqual({ target: 0, requirements: [] });
    farm.client('c').submit();
    expect(ask(farm)).toMatchObject({ target: 1 });
  });

  test('is work over target duration, and never more workers than tasks', () => {
    const farm = new SchedulerHarness({ unknownDurationMs: 1_000 });
    const client = farm.client('c');
    client.submit({ key: 'm', count: 100 });
    expect(ask(farm)).toMatchObject({ target: 20 });
    expect(ask(farm, 1)).toMatchObject({ target: 100 });
    farm.worker('a', { nthreads: 4 });
    expect(ask(farm)).toMatchObject({ target: 5 });
  });

  test('counts tasks that need a GPU for workers that have one', () => {
    const farm = new SchedulerHarness({ unknownDurationMs: 1_000 });
    const client = farm.client('c');
    farm.worker('plain', { nthreads: 8 });
    farm.worker('gpu', { nthreads: 8, resources: amounts({ GPU: 2 }) });
    client.submit({ key: 'm', count: 100, options: { resources: amounts({ GPU: 1 }) } });
    expect(ask(farm)).toEqual({
      target: 10,
      requirements: [{ threads: 1, resources: [['GPU', 1]], workers: [], tasks: 100, target: 10 }],
    });
  });

  test('rises at once, and falls only once it has been lower for a while', () => {
    const farm = new SchedulerHarness({ unknownDurationMs: 1_000 });
    const client = farm.client('c');
    const target = (coolDownMs: number): unknown =>
      client.answer(client.ask('adaptive-target', { targetDurationMs: 1_000, coolDownMs }));
    const ids = client.submit({ count: 10 });
    expect(target(5_000)).toMatchObject({ target: 10 });
    client.release(ids, ids + 1, ids + 2, ids + 3);
    farm.tick(2_000);
    expect(target(5_000)).toMatchObject({ target: 10, requirements: [{ target: 6 }] });
    client.submit({ count: 20 });
    expect(target(5_000)).toMatchObject({ target: 26 });
    client.release(...Array.from({ length: 23 }, (_, i) => ids + i));
    farm.tick(4_900);
    expect(target(5_000)).toMatchObject({ target: 26 });
    farm.tick(200);
    expect(target(5_000)).toMatchObject({ target: 7 });
    // Another client has lulls of its own.
    const other = farm.client('other');
    const params = { targetDurationMs: 1_000, coolDownMs: 5_000 };
    expect(other.answer(other.ask('adaptive-target', params))).toMatchObject({ target: 7 });
  });
});

describe('a worker that drains', () => {
  const LARGE = { inlineTotalBytesMax: 0 } as const;
  const DRAINING = { op: 'draining', reason: 'its lifetime is over' } as const;

  test('gets nothing new, is copied while it ends its runs, and closed when they have ended', () => {
    const farm = new SchedulerHarness(LARGE);
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'x' });
    a.finishLarge('x', 5_000);
    client.submit({ key: 'm', count: 2 });
    expect(a.keys()).toEqual(['m-0', 'm-1']);
    const b = farm.worker('b');
    const [, behind] = a.runs;
    a.runs = a.runs.slice(0, 1);
    a.say(DRAINING, { op: 'stopped', runs: [behind?.run ?? -1], kept: [] });
    expect(a.stopping).toEqual([]);
    expect(b.keys()).toEqual(['m-1']);
    expect(b.acquiring).toHaveLength(1);
    b.takeIn();
    b.finish();
    client.submit({ key: 'new' });
    expect(b.keys()).toEqual(['new']);
    farm.ticks(60_000);
    expect(a.taken('close-worker')).toEqual([]);
    a.finishLarge('m-0', 6_000);
    expect(b.acquiring).toHaveLength(1);
    expect(a.taken('close-worker')).toEqual([]);
    b.takeIn();
    expect(a.taken('close-worker')).toHaveLength(1);
    a.leave();
    a.lose();
    expect(client.taken('recomputing')).toEqual([]);
    expect(b.keys()).toEqual(['new']);
    expect(farm.core.counts()).toMatchObject({ memory: 3, processing: 1 });
  });

  test('has what it makes meanwhile copied before all of its runs have ended', () => {
    const farm = new SchedulerHarness(LARGE);
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 2 });
    client.submit({ key: 'short' });
    client.submit({ key: 'long' });
    expect(a.keys()).toEqual(['short', 'long']);
    const b = farm.worker('b');
    a.say(DRAINING);
    a.finishLarge('short', 5_000);
    farm.tick(500);
    expect(b.acquiring).toHaveLength(1);
    b.takeIn();
    a.leave();
    a.lose();
    expect(client.taken('recomputing')).toEqual([]);
    expect(b.keys()).toEqual(['long']);
    expect(farm.core.counts()).toMatchObject({ memory: 1, processing: 1 });
  });

  test('is closed at once where nobody can take its data, and loses it', () => {
    const farm = new SchedulerHarness(LARGE);
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'x' });
    a.finishLarge('x', 5_000);
    a.say(DRAINING);
    expect(a.taken('close-worker')).toHaveLength(1);
    expect(farm.logs.join('\n')).toContain('worker a goes with 1 results that are nowhere else');
    a.leave();
    a.lose();
    const b = farm.worker('b');
    expect(b.keys()).toEqual(['x']);
  });

  test('waits for what must not run twice; what it gives up in the end blames nobody', () => {
    const farm = new SchedulerHarness({ ...LARGE, allowedFailures: 0 });
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 2 });
    client.submit({ key: 'once', options: { rerunOnLoss: false } });
    client.submit({ key: 'endless' });
    a.beat(...a.runs.map(({ run }) => run));
    const b = farm.worker('b');
    a.say(DRAINING);
    farm.ticks(20_000);
    a.finishLarge('once', 5_000);
    farm.tick(500);
    b.takeIn();
    expect(a.taken('close-worker')).toEqual([]);
    a.leave();
    a.lose();
    expect(b.keys()).toEqual(['endless']);
    expect(farm.core.counts()).toMatchObject({ memory: 1, processing: 1, erred: 0 });
  });

  test('may have lost a run to what ends it: that runs elsewhere, if it may', () => {
    const farm = new SchedulerHarness({ allowedFailures: 0 });
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 2 });
    client.submit({ key: 'again', options: { retries: 0 } });
    const once = client.submit({ key: 'once', options: { rerunOnLoss: false } });
    const b = farm.worker('b');
    a.say(DRAINING);
    const why = failure('ERR_KILLED_WORKER', 'ended by SIGTERM', '', 'a', null);
    a.fail('again', why);
    a.fail('once', why);
    expect(b.keys()).toEqual(['again']);
    expect(client.taken('failed')).toMatchObject([
      { ids: [once], failure: { code: 'ERR_KILLED_WORKER' } },
    ]);
    expect(a.taken('close-worker')).toHaveLength(1);
  });

  test('that was asked to retire and could not goes all the same', () => {
    const farm = new SchedulerHarness(LARGE);
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'x' });
    client.submit({ key: 'long' });
    a.finishLarge('x', 5_000);
    const request = client.ask('retire-workers', RETIRE);
    a.say({ op: 'stopped', runs: [], kept: a.stopping.splice(0) });
    a.say(DRAINING, DRAINING);
    a.finishLarge('long', 5_000);
    expect(a.taken('close-worker')).toHaveLength(1);
    a.lose();
    expect(client.answer(request)).toEqual({ retired: ['a'], kept: [] });
  });
});

import { lost, runUsage, workerHeartbeat, workerMetrics } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness } from './scheduler-harness.ts';

// Goal: a worker that is short of memory gets nothing new and keeps what it has; once it resumes it
// gets work at once. A spilled result that is lost is computed again.

function beat(paused: boolean): ReturnType<typeof workerHeartbeat> {
  const metrics = workerMetrics({
    rssBytes: 1e9,
    storedBytes: 0,
    cpu: 0,
    loopLagMs: 0,
    executing: 0,
    queued: 0,
    spilledBytes: 0,
    paused,
  });
  return workerHeartbeat(metrics, []);
}

describe('a paused worker', () => {
  test('gets nothing until it resumes, and then at once', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    a.say(beat(true));
    const id = client.submit({ key: 'x' });
    expect(a.keys()).toEqual([]);
    client.say({ op: 'ask', request: 1, method: 'explain', params: { key: 'x' } });
    const [reply] = client.taken('reply');
    expect(reply?.answer).toMatchObject({
      workers: [{ worker: 'a', reason: expect.stringContaining('paused') as string }],
    });
    a.say(beat(false));
    expect(a.keys()).toEqual(['x']);
    a.finish();
    expect(client.results().get(id)).toBe('r(x)');
  });

  test('hands back runs, which go to another worker and count as no attempt', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 2 });
    client.submit({ key: 'm', count: 2 });
    const b = farm.worker('b', { nthreads: 2 });
    a.say(beat(true));
    const handed = a.runs.map(({ run }) => run);
    a.runs = [];
    a.say({ op: 'stopped', runs: handed, kept: [] });
    expect(b.keys().toSorted()).toEqual(['m-0', 'm-1']);
    b.finish('all');
    expect(farm.core.counts()).toMatchObject({ memory: 2 });
  });

  test('finishes what it runs, and its results stay of use', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'x' });
    a.say(beat(true));
    a.finishLarge('x', 5_000, 1e6);
    expect(farm.core.counts()).toMatchObject({ memory: 1 });
  });

  test('that was away meanwhile is still paused when it is back', () => {
    const farm = new SchedulerHarness({ workerLeaseMs: 5_000 });
    const client = farm.client('c');
    const a = farm.worker('a');
    a.say(beat(true));
    a.cut();
    client.submit({ key: 'x' });
    a.mend();
    expect(a.keys()).toEqual([]);
    a.say(beat(false));
    expect(a.keys()).toEqual(['x']);
  });
});

describe('a spilled result that is lost', () => {
  test('is computed again', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'x' });
    a.finishLarge('x', 5_000, 1e6);
    const [held] = [...a.data];
    a.data.clear();
    a.say(lost([held ?? -1]));
    expect(a.keys()).toEqual(['x']);
    a.finishLarge('x', 5_000, 1e6);
    expect(farm.core.counts()).toMatchObject({ memory: 1 });
  });

  test('is nothing to a scheduler that knows another holder, or has forgotten it', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    client.submit({ key: 'x' });
    const [maker, other] = a.runs.length > 0 ? [a, b] : [b, a];
    maker.finishLarge('x', 5_000, 1e6);
    const [held] = [...maker.data];
    other.hold(held ?? -1);
    maker.data.clear();
    maker.say(lost([held ?? -1, 77]));
    expect(maker.keys()).toEqual([]);
    expect(farm.core.counts()).toMatchObject({ memory: 1 });
  });
});

describe('a worker that is paused for too long', () => {
  const CONFIG = { pausedMaxMs: 5_000, inlineTotalBytesMax: 0 } as const;

  test('is restarted, after its results were copied', () => {
    const farm = new SchedulerHarness(CONFIG);
    const client = farm.client('c');
    const a = farm.worker('a', { nanny: true });
    client.submit({ key: 'x' });
    a.finishLarge('x', 5_000, 1e6);
    const b = farm.worker('b');
    a.say(beat(true));
    farm.ticks(4_000);
    expect(a.taken('restart-worker')).toEqual([]);
    farm.ticks(2_000);
    const [copy] = b.taken('acquire');
    expect(copy).toMatchObject({ size: 5_000 });
    expect(a.taken('restart-worker')).toEqual([]);
    b.hold(copy?.task ?? -1);
    expect(a.taken('restart-worker')).toHaveLength(1);
    a.lose();
    expect(farm.core.counts()).toMatchObject({ memory: 1 });
    expect(client.taken('recomputing')).toEqual([]);
  });

  test('goes on where nobody can take its results', () => {
    const farm = new SchedulerHarness(CONFIG);
    const client = farm.client('c');
    const a = farm.worker('a', { nanny: true });
    client.submit({ key: 'x' });
    a.finishLarge('x', 5_000, 1e6);
    a.say(beat(true));
    farm.ticks(6_000);
    expect(a.taken('restart-worker')).toEqual([]);
    expect(farm.core.counts()).toMatchObject({ memory: 1 });
    client.submit({ key: 'y' });
    a.say(beat(false));
    expect(a.keys()).toEqual(['y']);
  });

  test('and has no nanny is left alone', () => {
    const farm = new SchedulerHarness(CONFIG);
    farm.client('c');
    const a = farm.worker('a', { nanny: false });
    a.say(beat(true));
    farm.ticks(20_000);
    expect(a.taken('restart-worker')).toEqual([]);
  });
});

test('what a run took is told in the story of its task', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const a = farm.worker('a', { nthreads: 2 });
  client.submit({ key: 'm', count: 2 });
  const b = farm.worker('b', { nthreads: 2 });
  client.submit({ key: 'n', count: 2 });
  const [first] = a.runs;
  const [alone, unseen] = b.runs;
  a.say(runUsage(first?.run ?? -1, 200 * 2 ** 20, 1_500_000), runUsage(77, 1, null));
  b.say(runUsage(alone?.run ?? -1, null, 42_400), runUsage(unseen?.run ?? -1, 2 ** 20, null));
  b.finish('all');
  a.finish('all');
  const story = (key: string): unknown => client.answer(client.ask('story', { key }));
  expect(story('m-0')).toMatchObject([
    {},
    {},
    { to: 'memory', cause: 'finished: 200 MiB of memory, 1.5 s of processor time' },
  ]);
  expect(story('m-1')).toMatchObject([{}, {}, { to: 'memory', cause: 'finished' }]);
  // SAFE: a story is a list of entries.
  const cause = (key: string): unknown => (story(key) as { cause: string }[]).at(-1)?.cause;
  expect(cause('n-0')).toBe('finished: 42 ms of processor time');
  expect(cause('n-1')).toBe('finished: 1 MiB of memory');
});

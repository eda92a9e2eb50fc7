import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';
import { VirtualWorkers } from './virtual-workers.ts';

const MB = 1_000_000;
const GPU = amounts({ GPU: 1 });

interface Stuck {
  readonly farm: SchedulerHarness;
  readonly client: FakeClient;
  readonly victim: FakeWorker;
  readonly run: number;
}

/** A worker with a GPU, and a task on it that needs one and some bytes from elsewhere. */
function stuck(size = 10 * MB, options = {}): Stuck {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const holder = farm.worker('holder', { nthreads: 4 });
  const x = client.submit({ key: 'x', fn: 'load', options: { workers: ['holder'] } });
  holder.finishLarge('x', size);
  const victim = farm.worker('victim', { nthreads: 2, resources: GPU });
  client.submit({ key: 'y', deps: [[x]], options: { resources: GPU, ...options } });
  expect(victim.keys()).toEqual(['y']);
  return { farm, client, victim, run: victim.runs[0]?.run ?? -1 };
}

/** Heartbeats, half a second apart. */
function beats({ farm, victim }: Stuck, count: number, executing: readonly number[] = []): void {
  for (let i = 0; i < count; i++) {
    farm.nowMs += 500;
    victim.beat(...executing);
  }
}

describe('a run with resources that does not begin', () => {
  test('moves to a worker that has them free', () => {
    const it = stuck();
    const { farm, victim, run } = it;
    const idle = farm.worker('idle', { resources: GPU });
    beats(it, 1);
    expect(victim.stopping).toEqual([]);
    beats(it, 1);
    expect(victim.stopping).toEqual([run]);
    expect(victim.taken('stop')).toMatchObject([{ runs: [run], running: false }]);
    expect(idle.keys()).toEqual([]);
    victim.answerStops();
    expect(idle.keys()).toEqual(['y']);
    expect(idle.runs[0]?.attempt).toBe(1);
    idle.finish();
    expect(farm.core.counts()).toMatchObject({ memory: 2, processing: 0 });
  });

  test('moves to a late worker at once', () => {
    const it = stuck();
    beats(it, 4);
    expect(it.victim.stopping).toEqual([]);
    it.farm.worker('late', { resources: GPU });
    expect(it.victim.stopping).toEqual([it.run]);
  });

  test('stays where it has begun', () => {
    const it = stuck();
    it.farm.worker('idle', { resources: GPU });
    beats(it, 4, [it.run]);
    expect(it.victim.stopping).toEqual([]);
  });

  test('stays where its victim says that it has begun meanwhile', () => {
    const it = stuck();
    const idle = it.farm.worker('idle', { resources: GPU });
    beats(it, 2);
    it.victim.keepRuns();
    beats(it, 4);
    expect(it.victim.stopping).toEqual([]);
    expect(idle.keys()).toEqual([]);
    it.victim.finish();
    expect(it.farm.core.counts()).toMatchObject({ memory: 2, processing: 0 });
  });

  test('stays where its inputs are on their way and would take as long elsewhere', () => {
    const it = stuck(1_000 * MB);
    it.farm.worker('idle', { resources: GPU });
    beats(it, 4);
    expect(it.victim.stopping).toEqual([]);
    // They should have come by now, twice over: another way may be faster.
    beats(it, 40);
    expect(it.victim.stopping).toEqual([it.run]);
  });

  test('goes to the worker that has its inputs', () => {
    const it = stuck(1_000 * MB);
    const { farm, run, victim } = it;
    const near = farm.worker('near', { resources: GPU });
    farm.worker('far', { resources: GPU });
    near.hold(victim.runs[0]?.inputs[0]?.task ?? -1);
    beats(it, 2);
    expect(victim.stopping).toEqual([run]);
    victim.answerStops();
    expect(near.keys()).toEqual(['y']);
  });

  test('never moves against its restriction, to a worker without the resource, or a full one', () => {
    const it = stuck(10 * MB, { workers: ['victim', 'other'] });
    const { farm, client, victim } = it;
    farm.worker('not named', { resources: GPU });
    farm.worker('plain', { nthreads: 8 });
    const other = farm.worker('other', { nthreads: 2, resources: GPU });
    client.submit({ key: 'z', options: { resources: GPU, workers: ['other'] } });
    expect(other.keys()).toEqual(['z']);
    beats(it, 4);
    expect(victim.stopping).toEqual([]);
    other.finish();
    beats(it, 1);
    expect(victim.stopping).toEqual([it.run]);
  });

  test('goes to its queue where the thief has got other work meanwhile, and keeps its place', () => {
    const it = stuck();
    const { farm, client, victim } = it;
    // Its like is known to be quick: were it plain, it could go where no slot is free.
    const teacher = farm.worker('teacher');
    client.submit({ key: 'quick', options: { workers: ['teacher'] } });
    teacher.finish('all', 100_000);
    const idle = farm.worker('idle', { resources: GPU });
    beats(it, 2);
    client.submit({ key: 'urgent', fn: 'g', options: { resources: GPU } });
    expect(idle.keys()).toEqual(['urgent']);
    victim.answerStops();
    // The place it gave up is free.
    expect(victim.keys()).toEqual(['y']);
    expect(farm.core.counts()).toMatchObject({ processing: 2, queued: 0 });
  });

  test('does not go back', () => {
    const it = stuck();
    const { farm, victim } = it;
    const idle = farm.worker('idle', { resources: GPU });
    beats(it, 2);
    victim.answerStops();
    for (let i = 0; i < 10; i++) {
      farm.nowMs += 500;
      idle.beat();
      victim.beat();
    }
    expect(idle.stopping).toEqual([]);
    expect(idle.keys()).toEqual(['y']);
  });

  test('survives the loss of either side', () => {
    for (const lost of ['victim', 'thief'] as const) {
      const it = stuck();
      const thief = it.farm.worker('thief', { resources: GPU });
      beats(it, 2);
      expect(it.victim.stopping).toEqual([it.run]);
      if (lost === 'thief') thief.lose();
      else it.victim.lose();
      if (lost === 'thief') it.victim.answerStops();
      const left = lost === 'thief' ? it.victim : thief;
      expect(left.keys()).toEqual(['y']);
    }
  });

  test('that is released meanwhile gives everything back', () => {
    const it = stuck();
    const { farm, client, victim } = it;
    const idle = farm.worker('idle', { resources: GPU });
    beats(it, 2);
    client.release(0, 1);
    victim.answerStops();
    expect([victim.keys(), idle.keys()]).toEqual([[], []]);
    client.close();
    farm.expectEmpty();
  });
});

describe('a run of several slots that does not begin', () => {
  test('moves to a worker that has them all free, and to no other', () => {
    const it = stuck(10 * MB, { resources: amounts({ threads: 2, GPU: 1 }) });
    const { farm, victim, run } = it;
    farm.worker('narrow', { nthreads: 1, resources: GPU });
    const wide = farm.worker('wide', { nthreads: 2, resources: GPU });
    const busy = it.client.submit({ key: 'busy', options: { workers: ['wide'] } });
    beats(it, 4);
    expect(victim.stopping).toEqual([]);
    wide.finish();
    it.client.release(busy);
    beats(it, 1);
    expect(victim.stopping).toEqual([run]);
    victim.answerStops();
    expect(wide.keys()).toEqual(['y']);
  });

  test('only one at a time is on its way to a worker', () => {
    const it = stuck();
    const { farm, client, victim } = it;
    const second = farm.worker('second', { nthreads: 2, resources: GPU });
    client.submit({ key: 'z', deps: [[0]], options: { resources: GPU } });
    expect(second.keys()).toEqual(['z']);
    farm.worker('idle', { nthreads: 2, resources: amounts({ GPU: 2 }) });
    farm.nowMs += 500;
    second.beat();
    beats(it, 2);
    second.beat();
    farm.tick(500);
    expect([...victim.stopping, ...second.stopping]).toHaveLength(1);
  });
});

test('runs that begin as they should are never asked back', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const workers = ['a', 'b', 'c'].map((name) => {
    return farm.worker(name, { nthreads: 2, resources: amounts({ GPU: 2 }) });
  });
  client.submit({ key: 'm', count: 40, options: { resources: GPU } });
  const slots = new Map(workers.map((worker) => [worker, 2]));
  const cluster = new VirtualWorkers(farm, slots, (key) => {
    return { durationMs: key.endsWith('7') ? 5_000 : 700, size: 10 };
  });
  cluster.play();
  expect(cluster.started.length).toBe(40);
  expect(cluster.moved).toBe(0);
});

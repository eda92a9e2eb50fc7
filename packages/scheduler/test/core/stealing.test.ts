import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts } from './scheduler-harness.ts';
import type { FakeClient, FakeWorker } from './scheduler-harness.ts';
import { VirtualWorkers } from './virtual-workers.ts';

const MB = 1_000_000;

interface PileUp {
  readonly farm: SchedulerHarness;
  readonly client: FakeClient;
  readonly holder: FakeWorker;
  readonly x: number;
}

/**
 * A worker of one slot that holds 10 MB, which all tasks need: bringing them elsewhere takes 0.1 s,
 * and until the first has ended each is thought to take half a second.
 */
function holderOf(size = 10 * MB, config = {}): PileUp {
  const farm = new SchedulerHarness(config);
  const client = farm.client('c');
  const holder = farm.worker('holder');
  const x = client.submit({ key: 'x', fn: 'load' });
  holder.finishLarge('x', size);
  return { farm, client, holder, x };
}

/** Teaches what tasks of a function take. */
function learn({ client, farm, holder }: PileUp, fn: string, durationMs: number): void {
  const id = client.submit({ key: `learn-${fn}`, fn, options: { workers: ['holder'] } });
  holder.finish({ [`learn-${fn}`]: 'v' }, durationMs * 1_000);
  client.release(id);
  farm.nowMs += 1_000;
}

/** Some short tasks on the holder, one executing and the others sent ahead. */
function pileUp(count: number, durationMs = 30, size = 10 * MB): PileUp {
  const pile = holderOf(size, { prefetchTargetMs: durationMs * count });
  learn(pile, 'use', durationMs);
  const deps = Array.from({ length: count + 1 }, () => [pile.x]);
  pile.client.submit({ key: 'y', fn: 'use', count: count + 1, deps });
  expect(pile.holder.runs.length).toBe(count + 1);
  return pile;
}

describe('where a task with inputs starts first', () => {
  test('it waits for a loaded holder where moving its bytes takes longer', () => {
    const pile = holderOf(1_000 * MB);
    const { farm, client, holder, x } = pile;
    learn(pile, 'use', 300);
    const other = farm.worker('other');
    client.submit({ key: 'y', fn: 'use', count: 3, deps: [[x], [x], [x]] });
    expect(holder.keys()).toEqual(['y-0', 'y-1', 'y-2']);
    expect(other.keys()).toEqual([]);
  });

  test('it goes to an idle worker where that is cheaper than waiting', () => {
    const pile = holderOf(1 * MB);
    const { farm, client, holder, x } = pile;
    learn(pile, 'use', 300);
    const other = farm.worker('other');
    client.submit({ key: 'y', fn: 'use', count: 2, deps: [[x], [x]] });
    expect([holder.keys(), other.keys()]).toEqual([['y-0'], ['y-1']]);
  });

  test('load is weighed against bytes to move, and both workers get something', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 2 });
    const b = farm.worker('b');
    const y = client.submit({ key: 'in', count: 2 });
    a.finishLarge('in-0', 10_000);
    b.finishLarge('in-1', 1_000);
    const deps = Array.from({ length: 3 }, () => [y, y + 1]);
    client.submit({ key: 'f', count: 3, deps });
    expect(a.runs.length).toBe(2);
    expect(b.runs.length).toBe(1);
  });

  test('a map over futures goes where its inputs are, small as they are', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const workers = ['a', 'b', 'c'].map((name) => farm.worker(name, { nthreads: 2 }));
    const x = client.submit({ key: 'x', count: 6 });
    const before = workers.map((worker) => worker.runs.map(({ args }) => args));
    for (const worker of workers) worker.finish();
    client.submit({
      key: 'y',
      count: 6,
      deps: Array.from({ length: 6 }, (_, i) => [x + i]),
    });
    expect(workers.map((worker) => worker.runs.map(({ args }) => args).toSorted())).toEqual(
      before.map((args) => args.toSorted()),
    );
  });
});

describe('what is taken from a loaded worker', () => {
  test('a late worker gets work at once', () => {
    const { farm, holder } = pileUp(20, 50, 1 * MB);
    const late = farm.worker('late');
    expect(holder.taken('stop')).toMatchObject([{ running: false }]);
    expect(holder.stopping.length).toBe(4);
    expect(late.keys()).toEqual([]);
    expect(farm.core.counts()).toMatchObject({ processing: 21, queued: 0 });
    holder.answerStops();
    expect(late.runs.length).toBeGreaterThan(0);
    expect(late.runs.every(({ attempt }) => attempt === 1)).toBe(true);
    expect(farm.core.counts()).toMatchObject({ processing: late.runs.length + holder.runs.length });
  });

  test('ten late workers all get something', () => {
    const { farm, holder } = pileUp(100, 100, 1 * MB);
    const late = Array.from({ length: 10 }, (_, i) => farm.worker(`late${i}`));
    const slots = new Map([holder, ...late].map((worker) => [worker, 1]));
    const cluster = new VirtualWorkers(farm, slots, () => ({ durationMs: 100, size: 10 }));
    cluster.play();
    expect(farm.core.counts()).toMatchObject({ processing: 0, queued: 0, waiting: 0 });
    const ran = late.map(({ name }) => cluster.started.filter(([, who]) => who === name).length);
    expect(ran.filter((count) => count > 3).length).toBe(10);
    expect(cluster.started.length).toBe(101);
  });

  test('expensive data with fast computation stays', () => {
    const { farm, holder } = pileUp(20, 10, 1_000 * MB);
    farm.worker('late');
    expect(holder.stopping).toEqual([]);
  });

  test('cheap data with slow computation moves', () => {
    const { farm, holder } = pileUp(3, 190, 1_000);
    farm.worker('late');
    expect(holder.stopping.length).toBeGreaterThan(0);
  });

  test('tasks of unknown duration move in the end', () => {
    const { farm, client, holder, x } = holderOf(5_000 * MB);
    const idle = farm.worker('idle');
    client.submit({
      key: 'y',
      fn: 'use',
      count: 500,
      deps: Array.from({ length: 500 }, () => [x]),
    });
    expect(holder.runs.length).toBeGreaterThan(50);
    farm.tick(500);
    holder.answerStops();
    expect(idle.runs.length).toBe(1);
  });

  test('what the victim says it executes is not asked for', () => {
    const { farm, holder } = pileUp(3, 190, 1_000);
    const runs = holder.runs.map(({ run }) => run);
    holder.beat(...runs);
    farm.worker('late');
    expect(holder.stopping).toEqual([]);
  });

  test('nor what may not run elsewhere', () => {
    const { farm, client, holder, x } = holderOf(10 * MB, { prefetchTargetMs: 1_000 });
    learn({ farm, client, holder, x }, 'use', 100);
    const options = { workers: ['holder'] };
    client.submit({ key: 'y', fn: 'use', count: 10, options });
    expect(holder.runs.length).toBe(10);
    farm.worker('late');
    farm.tick(500);
    expect(holder.stopping).toEqual([]);
    farm.worker('no longer named');
    farm.tick(500);
    expect(holder.stopping).toEqual([]);
  });

  test('nor what has just been sent there, before it has arrived', () => {
    const pile = holderOf(1_000);
    const { farm, client, x } = pile;
    learn(pile, 'use', 190);
    const preferred = farm.worker('preferred', { nthreads: 2 });
    client.submit({ key: 'long', fn: 'long', options: { workers: ['preferred'] } });
    preferred.finish('all', 9_000_000);
    client.submit({ key: 'longer', fn: 'long', options: { workers: ['preferred'] } });
    farm.worker('idle');
    farm.tick(500);
    // The other preferred worker has a free slot and much to do, the idle one is not preferred.
    const options = { workers: ['holder', 'preferred'], allowOtherWorkers: true };
    client.submit({ key: 'y', fn: 'use', count: 3, deps: [[x], [x], [x]], options });
    const { holder } = pile;
    expect(holder.keys()).toEqual(['y-0', 'y-1', 'y-2']);
    expect(holder.stopping).toEqual([]);
    farm.tick(500);
    expect(holder.stopping.length).toBe(1);
  });

  test('what needs a resource waits at the scheduler, and a worker with less of it gets it', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a', { nthreads: 4, resources: amounts({ GPU: 4 }) });
    client.submit({ key: 'm', count: 6, options: { resources: amounts({ GPU: 2 }) } });
    const b = farm.worker('b', { nthreads: 4, resources: amounts({ GPU: 2 }) });
    farm.worker('c', { nthreads: 4 });
    expect([a.keys(), b.keys()]).toEqual([['m-0', 'm-1'], ['m-2']]);
  });

  test('a worker that leaves is never given anything', () => {
    const { farm, holder } = pileUp(20, 50, 1 * MB);
    const late = farm.worker('late');
    late.leave();
    holder.answerStops();
    farm.tick(500);
    expect(late.keys()).toEqual([]);
    expect(holder.stopping).toEqual([]);
  });

  test('nothing moves where no one is idle, or where all have little', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const workers = ['a', 'b'].map((name) => farm.worker(name));
    const slots = new Map(workers.map((worker) => [worker, 1]));
    client.submit({ key: 'm', count: 1_000 });
    const cluster = new VirtualWorkers(farm, slots, () => ({ durationMs: 0.05, size: 4 }));
    cluster.play();
    expect(cluster.moved).toBe(0);
    expect(cluster.started.length).toBe(1_000);
  });
});

describe('a move', () => {
  test('of a run that has started is refused, and not asked for again', () => {
    const { farm, holder } = pileUp(10, 50, 1 * MB);
    farm.worker('late');
    const asked = [...holder.stopping];
    holder.keepRuns();
    farm.tick(500);
    expect(holder.stopping.filter((run) => asked.includes(run))).toEqual([]);
    holder.finish('all', 50_000);
    expect(farm.core.counts()).toMatchObject({ processing: 0, memory: 12 });
  });

  test('of a run that ended meanwhile comes to nothing', () => {
    const { farm, holder } = pileUp(10, 50, 1 * MB);
    const late = farm.worker('late');
    const asked = [...holder.stopping];
    holder.finish('all', 50_000);
    expect(asked.length).toBeGreaterThan(0);
    holder.keepRuns();
    expect(late.keys()).toEqual([]);
    expect(farm.core.counts()).toMatchObject({ processing: 0, memory: 12 });
  });

  test('does not go back', () => {
    const { farm, holder } = pileUp(10, 50, 1 * MB);
    const late = farm.worker('late');
    holder.answerStops();
    const moved = late.keys();
    expect(moved.length).toBeGreaterThan(0);
    // Everything else ends: now the holder is idle, and the other loaded.
    holder.finish('all', 50_000);
    for (let i = 0; i < 5; i++) farm.tick(500);
    expect(late.stopping).toEqual([]);
    expect(late.keys()).toEqual(expect.arrayContaining(moved));
  });

  test('survives the death of the victim', () => {
    const { farm, holder } = pileUp(10, 50, 1 * MB);
    const late = farm.worker('late');
    expect(holder.stopping.length).toBeGreaterThan(0);
    holder.lose();
    expect(late.keys()).toEqual(['x']);
    expect(farm.core.counts()).toMatchObject({ processing: 1, waiting: 11 });
  });

  test('survives the death of the thief', () => {
    const { farm, holder } = pileUp(10, 50, 1 * MB);
    const late = farm.worker('late');
    const asked = holder.stopping.length;
    expect(asked).toBeGreaterThan(0);
    late.lose();
    holder.answerStops();
    expect(farm.core.counts()).toMatchObject({ waiting: 0, memory: 1 });
    const { processing, queued } = farm.core.counts();
    expect(processing + queued).toBe(11);
  });

  test('of a task that is released meanwhile is no more than that', () => {
    const { farm, client, holder } = pileUp(10, 50, 1 * MB);
    const late = farm.worker('late');
    const asked = holder.runs.filter(({ run }) => holder.stopping.includes(run));
    expect(asked.length).toBeGreaterThan(0);
    client.release(...Array.from({ length: client.nextId }, (_, id) => id));
    holder.answerStops();
    expect(late.keys()).toEqual([]);
    expect(holder.keys()).toEqual([]);
    client.close();
    farm.expectEmpty();
  });

  test('goes to the queue where the thief has got other work meanwhile', () => {
    const { farm, client, holder } = pileUp(3, 190, 1_000);
    const late = farm.worker('late');
    expect(holder.stopping.length).toBeGreaterThan(0);
    client.submit({ key: 'urgent', fn: 'other', options: { workers: ['late'] } });
    expect(late.keys()).toEqual(['urgent']);
    holder.answerStops();
    const { processing, queued } = farm.core.counts();
    expect(processing + queued).toBe(5);
  });
});

describe('a surprise', () => {
  test('tasks behind one that takes far longer than expected move', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const a = farm.worker('a');
    client.submit({ key: 'm', fn: 'f', count: 200 });
    a.finish('all', 1_000);
    expect(a.runs.length).toBe(21);
    const [long] = a.runs;
    const b = farm.worker('b');
    client.release(...Array.from({ length: 178 }, (_, i) => 22 + i));
    b.finish('all', 1_000);
    expect([a.runs.length, b.runs.length]).toEqual([21, 0]);
    a.beat(long?.run ?? 0);
    expect(a.stopping).toEqual([]);
    farm.nowMs += 500;
    a.beat(long?.run ?? 0);
    expect(farm.core.info(farm.nowMs).prefixes[0]).toMatchObject({ name: 'f', meanMs: null });
    // Of those of unknown duration one is tried, then, since it was short after all, the others.
    expect(a.stopping.length).toBe(1);
    expect(a.stopping).not.toContain(long?.run);
    a.answerStops();
    expect(b.runs.length).toBe(1);
    farm.nowMs += 200;
    b.finish('all', 1_000);
    expect(a.stopping.length).toBe(19);
    expect(a.stopping).not.toContain(long?.run);
    a.answerStops();
    expect([a.runs.length, b.runs.length]).toEqual([1, 19]);
  });
});

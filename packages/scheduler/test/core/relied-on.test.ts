/** Goal: what users of Dask rely on, where no other test of the core shows it. */
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts, sorted } from './scheduler-harness.ts';
import type { FakeWorker } from './scheduler-harness.ts';
import { VirtualWorkers } from './virtual-workers.ts';

/** All workers end what they have until nothing is left to run. */
function finishAll(...workers: readonly FakeWorker[]): void {
  for (let round = 0; round < 1_000; round++) {
    if (workers.every(({ runs, stopping }) => runs.length + stopping.length === 0)) return;
    for (const worker of workers) {
      worker.answerStops();
      worker.finish('all', 1e6);
    }
  }
  expect.unreachable('it never ends');
}

describe('release', () => {
  test('a key whose result was released is computed anew when it is submitted again', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    for (const value of ['first', 'second']) {
      const x = client.submit({ key: 'x' });
      worker.finish({ x: value });
      expect(client.results()).toEqual(new Map([[x, value]]));
      client.release(x);
      expect(worker.data.size).toBe(0);
    }
    expect(farm.core.statistics().runs).toBe(2);
  });

  test('half of a graph that runs is kept whole, the other half is dropped', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 4 });
    const halves = ['kept', 'dropped'].map((half) => {
      const roots = client.submit({ key: `${half}-root`, count: 2 });
      const middle = client.submit({ key: `${half}-middle`, deps: [[roots, roots + 1]] });
      const top = client.submit({ key: `${half}-top`, deps: [[middle]] });
      client.release(roots, roots + 1, middle);
      return top;
    });
    worker.finish({ 'kept-root-0': 'v', 'dropped-root-0': 'v' }, 1e6);
    client.release(halves[1] ?? -1);
    const stopped = worker.runs.filter(({ run }) => worker.stopping.includes(run));
    expect(stopped.map(({ key }) => key)).toEqual(['dropped-root-1']);
    expect(worker.data.size).toBe(1);
    worker.answerStops();
    const ran: string[] = [];
    while (worker.runs.length > 0) {
      ran.push(...worker.keys());
      worker.finish('all', 1e6);
    }
    expect(ran).toEqual(['kept-root-1', 'kept-middle', 'kept-top']);
    expect([...client.results().keys()]).toEqual([halves[0]]);
  });

  test('dropping a thousand futures empties the workers at once', () => {
    const farm = new SchedulerHarness({ prefetchTargetMs: 1_000 });
    const client = farm.client('c');
    const workers = ['a', 'b'].map((name) => farm.worker(name, { nthreads: 2 }));
    const first = client.submit({ key: 'm', count: 1_000 });
    for (const worker of workers) worker.finish('all', 10_000);
    const assigned = workers.map(({ runs }) => runs.map(({ run }) => run));
    expect(Math.min(...assigned.map((runs) => runs.length))).toBeGreaterThan(50);
    client.say({ op: 'release', ranges: [first, 1_000] });
    expect(workers.map(({ stopping }) => sorted(stopping))).toEqual(assigned.map(sorted));
    for (const worker of workers) {
      worker.answerStops();
      expect([worker.runs.length, worker.data.size]).toEqual([0, 0]);
    }
    client.close();
    farm.expectEmpty();
  });

  test('a cancel that comes together with its submit leaves nothing to run', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    // What is said meanwhile arrives at once.
    client.cut();
    const x = client.submit({ key: 'x' });
    client.cancel(x);
    client.mend();
    expect(worker.runs).toEqual([]);
    expect(client.taken('cancelled').map(({ ids }) => ids)).toEqual([[x]]);
    client.close();
    farm.expectEmpty();
  });
});

describe('failure', () => {
  test('the input of a failed task can be submitted again, and the failure stays', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x' });
    const y = client.submit({ key: 'y', deps: [[x]] });
    client.release(x);
    worker.finish({ x: 'v' });
    worker.fail('y');
    expect(farm.core.counts()).toMatchObject({ released: 1, erred: 1 });
    const again = client.submit({ key: 'x' });
    expect(worker.keys()).toEqual(['x']);
    worker.finish({ x: 'w' });
    expect(client.results()).toEqual(new Map([[again, 'w']]));
    expect(farm.core.counts()).toMatchObject({ memory: 1, erred: 1 });
    client.release(again, y);
    client.close();
    farm.expectEmpty();
  });

  test('a fan-out whose workers die one after the other ends', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0, allowedFailures: 100 });
    const client = farm.client('c');
    const f = client.submit({ key: 'f' });
    const g = client.submit({ key: 'g', count: 5, deps: Array.from({ length: 5 }, () => [f]) });
    const h = client.submit({ key: 'h', count: 5, deps: [0, 1, 2, 3, 4].map((i) => [g + i]) });
    client.release(f, ...[0, 1, 2, 3, 4].map((i) => g + i));
    for (let round = 0; round < 30; round++) {
      const worker = farm.worker(`w${round}`, { nthreads: 2 });
      for (let step = 0; step < round; step++) {
        const [run] = worker.runs;
        if (run !== undefined) worker.finishLarge(run.key, 5_000, 1e6);
      }
      if (worker.runs.length === 0) break;
      worker.beat();
      worker.lose();
    }
    expect(farm.core.counts()).toMatchObject({ memory: 5, erred: 0, processing: 0, waiting: 0 });
    client.release(...[0, 1, 2, 3, 4].map((i) => h + i));
    client.close();
    farm.expectEmpty();
  });
});

describe('resources', () => {
  const options = (resources: Readonly<Record<string, number>>, priority = 0): object => ({
    options: { resources: amounts(resources), priority },
  });

  test('of several names are each a limit, and all of them are given back', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const resources = amounts({ A: 4, B: 1 });
    const worker = farm.worker('w', { nthreads: 8, resources });
    client.submit({ key: 'a', count: 8, ...options({ A: 1 }) });
    client.submit({ key: 'ab', count: 4, ...options({ A: 1, B: 1 }) });
    const most = { a: 0, b: 0 };
    let rounds = 0;
    for (; worker.runs.length > 0; rounds++) {
      const both = worker.keys().filter((key) => key.startsWith('ab'));
      most.a = Math.max(most.a, worker.runs.length);
      most.b = Math.max(most.b, both.length);
      const [first] = worker.keys();
      worker.finish({ [first ?? '']: 'v' }, 1e6);
    }
    expect([most, rounds]).toEqual([{ a: 4, b: 1 }, 12]);
    client.submit({ key: 'all', ...options({ A: 4, B: 1 }) });
    expect(worker.keys()).toEqual(['all']);
  });

  test('go to the best priority that fits; else what needs none runs', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 1, resources: amounts({ GPU: 1 }) });
    client.submit({ key: 'busy' });
    client.submit({ key: 'plain' });
    client.submit({ key: 'low', ...options({ GPU: 1 }, 1) });
    client.submit({ key: 'high', ...options({ GPU: 1 }, 2) });
    const order: string[] = [];
    while (worker.runs.length > 0) {
      order.push(...worker.keys());
      worker.finish('all', 1e6);
    }
    expect(order).toEqual(['busy', 'high', 'low', 'plain']);

    const two = farm.worker('two', { nthreads: 2, resources: amounts({ GPU: 1 }) });
    const only = { resources: amounts({ GPU: 1 }), workers: ['two'] };
    client.submit({ key: 'holds', options: only });
    client.submit({ key: 'waits', options: { ...only, priority: 9 } });
    client.submit({ key: 'needs none', options: { workers: ['two'] } });
    expect(two.keys()).toEqual(['holds', 'needs none']);
  });

  test('of all holders are used', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const resources = amounts({ GPU: 2 });
    const [a, b] = [
      farm.worker('a', { nthreads: 8, resources }),
      farm.worker('b', { nthreads: 8 }),
    ];
    const c = farm.worker('c', { nthreads: 8, resources });
    client.submit({ key: 'm', count: 4, ...options({ GPU: 1 }) });
    expect([a, b, c].map(({ runs }) => runs.length)).toEqual([2, 0, 2]);
  });

  test('of a task that is cancelled and submitted again are held once', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 4, resources: amounts({ GPU: 1 }) });
    for (const isAnswered of [true, false]) {
      let x = client.submit({ key: 'x', ...options({ GPU: 1 }) });
      for (let round = 0; round < 3; round++) {
        client.cancel(x);
        if (isAnswered) worker.answerStops();
        x = client.submit({ key: 'x', ...options({ GPU: 1 }) });
        expect(worker.runs).toHaveLength(1);
      }
      // Unless the first run is over, its GPU is not free.
      expect(farm.core.counts()).toMatchObject(isAnswered ? { processing: 1 } : { queued: 1 });
      finishAll(worker);
      expect(client.results().get(x)).toBe('r(x)');
      client.release(x);
    }
    client.submit({ key: 'y', ...options({ GPU: 1 }) });
    expect(worker.keys()).toEqual(['y']);
  });
});

describe('a queue', () => {
  test('waits for a worker that is away, and is worked off when it is back', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit({ key: 'm', count: 4 });
    worker.cut();
    worker.finish('all', 1e6);
    expect(worker.runs).toEqual([]);
    expect(farm.core.counts()).toMatchObject({ processing: 1, 'no-worker': 3 });
    worker.mend();
    finishAll(worker);
    expect(farm.core.counts()).toMatchObject({ memory: 4 });
  });

  test('outlives its workers, however often they change', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    client.submit({ key: 'm', count: 6 });
    for (let round = 0; round < 6; round++) {
      const worker = farm.worker(`w${round}`);
      expect(worker.keys()).toEqual([`m-${round}`]);
      worker.finish({ [`m-${round}`]: 'small' }, 1e6);
      worker.beat();
      worker.leave();
      worker.lose();
    }
    expect(farm.core.counts()).toMatchObject({ memory: 6, queued: 0, 'no-worker': 0 });
  });
});

test('a worker that is away is given nothing of what a loaded one has', () => {
  const farm = new SchedulerHarness({ prefetchTargetMs: 1_000 });
  const client = farm.client('c');
  const worker = farm.worker('victim');
  client.submit({ key: 'first' });
  worker.finish('all', 100_000);
  client.submit({ key: 'm', count: 8 });
  const idle = farm.worker('idle', { nthreads: 4 });
  idle.cut();
  worker.answerStops();
  farm.ticks(2_000);
  expect([worker.stopping, idle.runs]).toEqual([[], []]);
  expect(farm.core.counts()).toMatchObject({ processing: worker.runs.length });
  idle.mend();
  farm.ticks(20_000);
  expect(worker.stopping.length).toBeGreaterThan(0);
});

test('long tasks after many short ones are spread evenly', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const workers = ['a', 'b', 'c', 'd'].map((name) => farm.worker(name, { nthreads: 2 }));
  client.submit({ key: 'fast', fn: 'fast', count: 400 });
  for (let round = 0; round < 100; round++) {
    for (const worker of workers) worker.finish('all', 100);
  }
  expect(farm.core.counts()).toMatchObject({ memory: 400 });
  client.submit({ key: 'slow', fn: 'slow', count: 8 });
  expect(workers.map(({ runs }) => runs.length)).toEqual([2, 2, 2, 2]);
});

test.each([10, 40, 900])(
  'a task of all slots is not put off by a stream of tasks of %i ms',
  (ms) => {
    const farm = new SchedulerHarness({ reserveAfterMs: 1_000 });
    const client = farm.client('c');
    const workers = ['a', 'b'].map((name) => farm.worker(name, { nthreads: 4 }));
    const slots = new Map(workers.map((worker) => [worker, 4]));
    const cluster = new VirtualWorkers(farm, slots, (key) => ({
      // So that slots are free one after the other.
      durationMs: ms * (1 + (Number(key.split('-')[1] ?? 0) % 7) / 7),
      size: 8,
    }));
    const total = Math.ceil(64_000 / ms);
    client.submit({ key: 'm', fn: 'small', count: total });
    cluster.play(() => cluster.started.length > 20);
    const { nowMs } = farm;
    const resources = amounts({ threads: 4 });
    client.submit({ key: 'wide', fn: 'wide', options: { resources, priority: 1 } });
    cluster.play(() => cluster.started.some(([key]) => key === 'wide'));
    // Until a worker is cleared, and what it has then: sent ahead, and running.
    expect(farm.nowMs - nowMs).toBeLessThan(1_000 + 500 + 2 * ms);
    expect(cluster.started.length).toBeLessThan(total);
  },
);

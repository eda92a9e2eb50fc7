import { describe, expect, test } from 'vitest';

import { SchedulerHarness, sorted } from './scheduler-harness.ts';

describe('release', () => {
  test('releasing half of a block keeps the other half, in whatever state it is', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 4 });
    client.submit({ key: 'm', count: 10 });
    worker.finish({ 'm-0': 'v', 'm-1': 'v' }, 1e6);
    expect(worker.keys()).toEqual(['m-2', 'm-3', 'm-4', 'm-5']);
    client.release(0, 2, 4, 6, 8);
    expect(worker.taken('free')).toEqual([{ op: 'free', tasks: [1] }]);
    worker.answerStops();
    expect(worker.keys()).toEqual(['m-3', 'm-5', 'm-7', 'm-9']);
    worker.finish();
    const results = client.results();
    expect(sorted(results.keys())).toEqual([0, 1, 3, 5, 7, 9]);
    client.close();
    farm.expectEmpty();
  });

  test('one message may release many ranges, and what is released already', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    client.submit({ count: 5 });
    client.submit();
    client.say({ op: 'release', ranges: [0, 3, 2, 2, 77, 100, 5, 0, 5, -1] });
    expect(farm.core.counts()['no-worker']).toBe(2);
    client.say({ op: 'release', ranges: [0, 100] });
    client.close();
    farm.expectEmpty();
  });

  test('an intermediate result is freed as soon as its last dependent is done', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x' });
    client.submit({ key: 'y', deps: [[x]] });
    client.submit({ key: 'z', deps: [[x]] });
    client.release(x);
    worker.finish({ x: 'v' }, 1e6);
    worker.take();
    worker.finish({ y: 'v' }, 1e6);
    expect(worker.taken('free')).toEqual([]);
    worker.finish({ z: 'v' }, 1e6);
    expect(worker.taken('free')).toEqual([{ op: 'free', tasks: [1] }]);
    expect(farm.core.counts()).toMatchObject({ memory: 2, released: 1 });
  });

  test('a task nobody needs is not run, and what it alone needed neither', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x' });
    const y = client.submit({ key: 'y', deps: [[x]] });
    client.release(x);
    expect(farm.core.counts()).toMatchObject({ processing: 1, waiting: 1 });
    client.release(y);
    expect(worker.stopping).toEqual([1]);
    worker.answerStops();
    client.close();
    farm.expectEmpty();
    expect(worker.runs).toEqual([]);
  });

  test('a result that comes after its task was given up is freed', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.release(client.submit({ key: 'x' }));
    worker.finish({ x: 'late' });
    expect(worker.data.size).toBe(0);
    expect(farm.core.statistics().staleReports).toBe(1);
    expect(client.taken('results')).toEqual([]);
    worker.answerStops();
    client.submit({ key: 'next' });
    expect(worker.keys()).toEqual(['next']);
  });

  test('a task given up and wanted again runs anew, and only the new run counts', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 2 });
    client.release(client.submit({ key: 'x' }));
    const again = client.submit({ key: 'x' });
    expect(worker.runs.map(({ run }) => run)).toEqual([1, 2]);
    worker.finish({ x: 'old' });
    expect(client.results()).toEqual(new Map());
    worker.finish({ x: 'new' });
    expect(client.results()).toEqual(new Map([[again, 'new']]));
  });

  test('the result of a run that was given up is freed when the next run there fails', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 2 });
    const x = client.submit({ key: 'x' });
    client.submit({ key: 'y', deps: [[x]] });
    worker.finish({ x: 'x' });
    worker.finish({ y: 'y' });
    // The task stays known for the sake of y. It runs, is given up, and runs again.
    client.release(x);
    client.release(client.submit({ key: 'x' }));
    client.submit({ key: 'x' });
    expect(worker.runs.map(({ key }) => key)).toEqual(['x', 'x']);
    worker.finish({ x: 'old' });
    // The other run's result would take its place.
    expect(worker.data.size).toBe(2);
    worker.fail('x');
    expect(client.taken('failed')).toHaveLength(1);
    expect(worker.data.size).toBe(1);
    client.close();
    farm.expectEmpty();
  });

  test('a client that is lost or closes wants nothing any more', () => {
    for (const end of ['lose', 'close'] as const) {
      const farm = new SchedulerHarness();
      const client = farm.client('c');
      const worker = farm.worker('w', { nthreads: 2 });
      const x = client.submit({ key: 'x' });
      worker.finish();
      client.submit({ key: 'y', deps: [[x]] });
      client.submit({ count: 5 });
      client[end]();
      worker.answerStops();
      farm.expectEmpty();
      expect(worker.data.size).toBe(0);
    }
  });
});

describe('cancel', () => {
  test('running tasks are stopped, and the client is told why', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const first = client.submit({ key: 'm', count: 3 });
    client.take();
    client.cancel(first, first + 1, first + 2);
    expect(client.take()).toEqual([
      { op: 'cancelled', ids: [0, 1, 2], reason: 'no longer needed' },
    ]);
    expect(worker.stopping).toEqual([1]);
    worker.answerStops();
    client.cancel(first);
    expect(client.take()).toEqual([]);
    client.close();
    farm.expectEmpty();
  });

  test('what depends on a cancelled task and is unfinished is cancelled too', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 2 });
    const x = client.submit({ key: 'x' });
    const other = client.submit({ key: 'other' });
    const done = client.submit({ key: 'done', deps: [[x]] });
    worker.finish({ x: 'v' }, 1e6);
    worker.finish({ done: 'v' }, 1e6);
    const y = client.submit({ key: 'y', deps: [[x]] });
    const z = client.submit({ key: 'z', deps: [[y, other]] });
    client.take();
    client.cancel(x);
    const ids = client.taken('cancelled').flatMap((message) => message.ids);
    expect(sorted(ids)).toEqual([x, y, z]);
    expect(farm.core.counts()).toMatchObject({ memory: 1, processing: 1, waiting: 0 });
    client.release(done, other);
    worker.answerStops();
    client.close();
    farm.expectEmpty();
  });

  test('a task that another client wants goes on', () => {
    const farm = new SchedulerHarness();
    const [one, two] = [farm.client('one'), farm.client('two')];
    const worker = farm.worker('w');
    one.submit({ key: 'x' });
    const kept = two.submit({ key: 'x' });
    one.cancel(0);
    expect(one.taken('cancelled')).toHaveLength(1);
    expect(worker.stopping).toEqual([]);
    worker.finish({ x: 'v' });
    expect(two.results()).toEqual(new Map([[kept, 'v']]));
    expect(one.results()).toEqual(new Map());
  });
});

import { stopped } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts, sorted } from './scheduler-harness.ts';

describe('a worker is lost', () => {
  test('what it ran is run elsewhere', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    client.submit({ key: 'm', count: 2 });
    a.lose();
    b.finish({ 'm-1': 'v' });
    b.finish({ 'm-0': 'v' });
    expect([...client.results().keys()]).toEqual([1, 0]);
  });

  test('results that only it held are computed again, with what they need', () => {
    const farm = new SchedulerHarness({ inlineTotalBytesMax: 0 });
    const client = farm.client('c');
    const a = farm.worker('a');
    const x = client.submit({ key: 'x' });
    const y = client.submit({ key: 'y', deps: [[x]] });
    client.release(x);
    a.finishLarge('x', 5_000);
    a.finishLarge('y', 5_000);
    expect(farm.core.counts()).toMatchObject({ released: 1, memory: 1 });
    client.take();
    a.lose();
    expect(client.take()).toEqual([{ op: 'recomputing', ids: [y] }]);
    expect(farm.core.counts()).toMatchObject({ 'no-worker': 1, waiting: 1 });
    const b = farm.worker('b');
    expect(b.runs[0]).toMatchObject({ key: 'x', attempt: 1 });
    b.finish({ x: 'v' });
    expect(b.runs[0]).toMatchObject({ key: 'y', attempt: 2 });
    b.finish({ y: 'v' });
    expect(client.results()).toEqual(new Map([[y, 'v']]));
  });

  test('a task whose inputs are lost before it begins waits for them again', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    const inputs = client.submit({ key: 'in', count: 2 });
    a.finishLarge('in-0', 5_000, 1e6);
    b.finishLarge('in-1', 5_000, 1e6);
    client.submit({ key: 'busy', count: 2 });
    client.submit({ key: 'sum', deps: [[inputs, inputs + 1]] });
    expect(farm.core.counts()).toMatchObject({ queued: 1, processing: 2 });
    a.lose();
    expect(farm.core.counts()).toMatchObject({ waiting: 1, queued: 2, processing: 1 });
    while (b.runs.length > 0) b.finish('all', 1e6);
    expect(farm.core.counts()).toMatchObject({ memory: 5 });
  });

  test('kept values and other copies make a new run needless', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    client.submit({ key: 'x' });
    client.submit({ key: 'y' });
    a.finish({ x: 'small' });
    b.finishLarge('y', 5_000);
    a.hold(2);
    client.take();
    b.lose();
    expect(client.take()).toEqual([]);
    const z = client.submit({ key: 'z', deps: [[0, 1]] });
    expect(a.runs[0]?.inputs.map(({ value }) => value)).toEqual([null, null]);
    a.finish();
    expect(client.results().get(z)).toBe('r(z)');
    a.lose();
    expect(client.taken('recomputing')).toEqual([{ op: 'recomputing', ids: [1] }]);
  });
});

describe('blame', () => {
  test('a task that runs on workers while they die is given up, naming each death', () => {
    const farm = new SchedulerHarness({ allowedFailures: 2 });
    const client = farm.client('c');
    client.submit({ key: 'deadly' });
    for (let i = 0; i < 3; i++) {
      const worker = farm.worker(`w${i}`);
      worker.beat(...worker.runs.map(({ run }) => run));
      worker.lose(`signal ${i}`);
    }
    const [failed] = client.taken('failed');
    expect(failed?.failure).toMatchObject({ code: 'ERR_KILLED_WORKER', origin: 'deadly' });
    for (let i = 0; i < 3; i++) {
      const death = `w${i} on host-of-w${i} (pid 1): signal ${i}`;
      expect(failed?.failure.message).toContain(death);
    }
  });

  test('tasks that only waited there are not blamed', () => {
    const farm = new SchedulerHarness({ allowedFailures: 0 });
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit({ key: 'm', count: 20 });
    worker.finish({ 'm-0': 'v' }, 1_000);
    expect(worker.runs.length).toBeGreaterThan(10);
    const executing = worker.runs[3];
    worker.beat(executing?.run ?? -1);
    worker.lose();
    const failed = client.taken('failed');
    expect(failed.map(({ failure }) => failure.origin)).toEqual([executing?.key]);
    expect(farm.core.counts()).toMatchObject({ erred: 1, memory: 1, 'no-worker': 18 });
  });

  test('without a heartbeat those are blamed that were next in line for its slots', () => {
    const farm = new SchedulerHarness({ allowedFailures: 0 });
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 2 });
    client.submit({ key: 'm', count: 20 });
    worker.finish('all', 1_000);
    worker.lose();
    const failed = client.taken('failed');
    expect(sorted(failed.flatMap(({ ids }) => ids))).toEqual([2, 3]);
  });

  test('a worker that leaves on purpose gets nothing new, and nothing is blamed', () => {
    const farm = new SchedulerHarness({ allowedFailures: 0 });
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 2 });
    const id = client.submit({ key: 'x' });
    worker.leave();
    client.submit({ key: 'y' });
    expect(worker.keys()).toEqual(['x']);
    expect(farm.core.counts()).toMatchObject({ processing: 1, 'no-worker': 1 });
    worker.beat(1);
    worker.lose();
    expect(client.taken('failed')).toEqual([]);
    const other = farm.worker('other', { nthreads: 2 });
    other.finish();
    expect(client.results().get(id)).toBe('r(x)');
  });

  test('a run handed back unstarted is run again without blame', () => {
    const farm = new SchedulerHarness({ allowedFailures: 0 });
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit({ key: 'x' });
    worker.say(stopped([worker.pull('x').run], []));
    expect(worker.runs[0]).toMatchObject({ key: 'x', run: 2, attempt: 2 });
  });
});

describe('inputs that are nowhere to be had', () => {
  test('the holder that was asked in vain is believed no more, and the input computed again', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    const x = client.submit({ key: 'x' });
    a.finishLarge('x', 5_000, 1e6);
    client.submit({ key: 'busy', options: { workers: ['a'] } });
    client.submit({ key: 'y', deps: [[x]] });
    expect(b.keys()).toEqual(['y']);
    client.take();
    b.missInput('y', 1, ['tcp://a:1']);
    expect(client.taken('recomputing')).toEqual([{ op: 'recomputing', ids: [x] }]);
    expect(a.data.size).toBe(0);
    expect(b.keys()).toEqual(['x']);
    b.finish({ x: 'v' });
    b.finish({ y: 'v' });
    expect(client.results().size).toBe(2);
  });

  test('it ends with an error where that goes on for ever', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    const x = client.submit({ key: 'x' });
    client.submit({ key: 'y', deps: [[x]] });
    let rounds = 0;
    for (; worker.runs.length > 0 && rounds < 1_000; rounds++) {
      if (worker.runs[0]?.key === 'x') worker.finishLarge('x', 5_000);
      else worker.missInput('y', 1, []);
    }
    expect(rounds).toBeLessThan(100);
    expect(client.taken('failed')[0]?.failure.code).toBe('ERR_LOST_DATA');
  });

  test('a report of a run that was given up does not take the input away from others', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    const x = client.submit({ key: 'x' });
    a.finishLarge('x', 5_000, 1e6);
    client.submit({ key: 'busy', options: { workers: ['a'] } });
    const y = client.submit({ key: 'y', deps: [[x]] });
    client.release(y);
    b.missInput('y', 1, []);
    expect(farm.core.counts()).toMatchObject({ memory: 1, processing: 1 });
  });
});

describe('stale reports', () => {
  test('reports about unknown runs change nothing and are counted', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit({ key: 'x' });
    client.take();
    worker.finishRun(99);
    expect(farm.core.statistics().staleReports).toBe(1);
    expect(farm.core.counts().processing).toBe(1);
    expect(client.take()).toEqual([]);
  });

  test('a copy of a result that nobody wants any more is freed', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [a, b] = [farm.worker('a'), farm.worker('b')];
    client.submit({ key: 'x' });
    a.finish();
    client.release(0);
    b.hold(1);
    expect(b.data.size).toBe(0);
  });

  test("another worker's run is not this worker's to report", () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const [, b] = [farm.worker('a'), farm.worker('b')];
    client.submit({ key: 'x' });
    b.finishRun(1);
    expect(farm.core.counts().processing).toBe(1);
  });
});

test('a ready task whose lost input cannot be computed again fails with the reason', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const resources = amounts({ GPU: 1 });
  const a = farm.worker('a');
  const root = client.submit({ key: 'root' });
  a.finishLarge('root', 5_000, 1e6);
  const [b, c] = ['b', 'c'].map((name) => farm.worker(name, { nthreads: 2, resources }));
  const x = client.submit({ key: 'x', deps: [[root]], options: { workers: ['b'] } });
  b?.finishLarge('x', 5_000, 1e6);
  client.submit({ key: 'busy', count: 2, options: { resources } });
  const y = client.submit({ key: 'y', deps: [[x]], options: { resources } });
  a.lose();
  for (const worker of [b, c]) if (worker?.keys().includes('root') === true) worker.fail('root');
  expect(client.taken('failed').map(({ ids }) => ids)).toEqual([[root]]);
  expect(farm.core.counts()).toMatchObject({ erred: 1, memory: 1, queued: 1, processing: 2 });
  b?.lose();
  expect(sorted(client.taken('failed').flatMap(({ ids }) => ids))).toEqual([x, y]);
});

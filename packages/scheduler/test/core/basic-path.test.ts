import { expect, test } from 'vitest';

import { SchedulerHarness, bytes } from './scheduler-harness.ts';

test('a submitted task is run, its result reaches the client, its release frees everything', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w');
  const id = client.submit({ key: 'x', args: ['two'] });
  expect(client.take()).toEqual([{ op: 'accepted', first: id, count: 1 }]);
  expect(worker.take()).toEqual([
    { op: 'define-worker-function', fn: 1, name: 'f', spec: bytes('code of f') },
    {
      op: 'run',
      fn: 1,
      key: 'x',
      indices: null,
      tasks: [1],
      runs: [1],
      args: bytes('two'),
      ends: [3],
      dependencies: null,
      threads: 1,
      resources: [],
      devices: null,
      timeoutMs: null,
      attempts: null,
      expectedUs: null,
    },
  ]);
  worker.finish({ x: '4' }, 250);
  expect(client.take()).toEqual([
    {
      op: 'results',
      ids: [id],
      sizes: [1],
      values: bytes('4'),
      ends: [1],
      durationsUs: [250],
      ranOn: [0],
      workers: ['w'],
    },
  ]);
  client.release(id);
  expect(worker.take()).toEqual([{ op: 'free', tasks: [1] }]);
  farm.expectNoMore();
  client.close();
  expect(worker.take()).toEqual([{ op: 'forget-functions', fns: [1] }]);
  farm.expectEmpty();
});

test('a block streams to one worker in few messages once its duration is known', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w', { nthreads: 2 });
  client.submit({ key: 'm', count: 100 });
  expect(worker.keys()).toEqual(['m-0', 'm-1']);
  worker.take();
  worker.finish('all', 100);
  const runs = worker.taken('run');
  expect(runs).toHaveLength(1);
  expect(runs[0]?.indices).toEqual(Array.from({ length: 98 }, (_, index) => index + 2));
  expect(runs[0]?.expectedUs).toBe(100);
  expect(worker.runs[5]).toMatchObject({ key: 'm-7', args: 'a7' });
  worker.finish();
  const results = client.results();
  expect(results.size).toBe(100);
  expect(results.get(42)).toBe('r(m-42)');
  client.close();
  farm.expectEmpty();
});

test('a small value travels with the run of a dependent, a large one is named by its holder', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const one = farm.worker('one');
  const x = client.submit({ key: 'x' });
  const y = client.submit({ key: 'y' });
  one.finish({ x: 'small' });
  one.finishLarge('y', 1_000_000);
  const busy = client.submit({ key: 'busy', fn: 'unknown' });
  expect(one.keys()).toEqual(['busy']);
  const two = farm.worker('two');
  client.submit({ key: 'z', deps: [[y, x, y]] });
  const large = { task: 2, size: 1_000_000, holders: ['tcp://one:1'], value: null };
  expect(two.runs[0]?.inputs).toEqual([
    large,
    { task: 1, size: 5, holders: [], value: bytes('small') },
    large,
  ]);
  client.release(busy, x, y);
});

test('what a worker has is not sent to it again', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w');
  const x = client.submit({ key: 'x' });
  worker.finish({ x: 'small' });
  client.submit({ key: 'y', deps: [[x]] });
  expect(worker.runs[0]?.inputs).toEqual([{ task: 1, size: 5, holders: [], value: null }]);
});

test('a graph that is submitted before any worker is there runs in order of dependencies', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const [a, b] = [client.submit({ key: 'a' }), client.submit({ key: 'b' })];
  const sum = client.submit({ key: 'sum', deps: [[a, b]] });
  const last = client.submit({ key: 'last', deps: [[sum]] });
  expect(farm.core.counts()).toMatchObject({ 'no-worker': 2, waiting: 2 });
  const worker = farm.worker('w', { nthreads: 4 });
  expect(worker.keys()).toEqual(['a', 'b']);
  worker.finish({ b: '2' });
  expect(worker.keys()).toEqual(['a']);
  worker.finish({ a: '1' });
  expect(worker.keys()).toEqual(['sum']);
  worker.finish({ sum: '3' });
  worker.finish({ last: '4' });
  expect(client.results()).toEqual(
    new Map([
      [b, '2'],
      [a, '1'],
      [sum, '3'],
      [last, '4'],
    ]),
  );
});

test('tasks of one block have dependencies of their own', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w', { nthreads: 3 });
  const first = client.submit({ key: 'in', count: 2 });
  client.submit({ key: 'out', count: 3, deps: [[first], [first + 1], []] });
  expect(worker.keys()).toEqual(['in-0', 'in-1', 'out-2']);
  worker.finish({ 'in-1': 'x' });
  expect(worker.keys()).toEqual(['in-0', 'out-2', 'out-1']);
});

test('the same events give the same instructions', () => {
  const transcript = (): string => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const workers = ['a', 'b', 'c'].map((name) => farm.worker(name, { nthreads: 2 }));
    const first = client.submit({ count: 20 });
    client.submit({ key: 'sum', deps: [[first, first + 7]] });
    const said: unknown[] = [];
    for (let round = 0; round < 6; round++) {
      for (const worker of workers) worker.finish();
      said.push(client.take(), ...workers.map((worker) => worker.take()));
    }
    return JSON.stringify(said);
  };
  expect(transcript()).toBe(transcript());
});

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

test('a value travels with the run of a dependent, a large result is named by its holder', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const one = farm.worker('one');
  const x = client.submit({ key: 'x' });
  one.finish({ x: 'small' });
  const y = client.submit({ key: 'y' });
  one.finishLarge('y', 1_000_000);
  one.lose;
  const z = client.submit({ key: 'z', deps: [[y, x, y]] });
  const [run] = one.runs;
  expect(run?.inputs.map(({ task }) => task)).toEqual([2, 1, 2]);
  expect(run?.inputs[1]).toEqual({ task: 1, size: 5, holders: [], value: null });
  one.finish();
  expect(client.results().get(z)).toBe('r(z)');
});

import { ask } from '@farm/protocol/core';
import type { Explanation, Questions } from '@farm/protocol/core';
import { describe, expect, test } from 'vitest';

import { SchedulerHarness, amounts } from './scheduler-harness.ts';
import type { FakeClient } from './scheduler-harness.ts';

function answer<M extends keyof Questions>(
  client: FakeClient,
  method: M,
  params: Questions[M]['params'],
): Questions[M]['answer'] | undefined {
  client.say(ask(7, method, params));
  const [reply] = client.taken('reply');
  // SAFE: the core answers a question with its answer's type; the assertions check the content.
  return reply?.answer as Questions[M]['answer'] | undefined;
}

test('the scheduler tells who it is and what there is', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w', { nthreads: 3, resources: amounts({ GPU: 2 }) });
  client.submit({ count: 5 });
  worker.beat();
  farm.nowMs += 250;
  const info = answer(client, 'scheduler-info', null);
  expect(info).toMatchObject({
    type: 'Scheduler',
    id: 'Scheduler-1',
    address: 'tcp://127.0.0.1:8786',
    clients: 1,
    tasks: { processing: 3, queued: 2 },
    workers: [{ name: 'w', nthreads: 3, resources: [['GPU', 2]], processing: 3, silentMs: 250 }],
  });
  expect(info?.workers[0]?.metrics).not.toBeNull();
  expect(farm.core.info(farm.nowMs)).toEqual(info);
});

test('waiting for workers is answered when there are enough', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const gone = farm.client('gone');
  expect(answer(client, 'wait-for-workers', { count: 0 })).toBe(0);
  expect(answer(gone, 'wait-for-workers', { count: 2 })).toBeUndefined();
  expect(answer(client, 'wait-for-workers', { count: 2 })).toBeUndefined();
  gone.lose();
  farm.worker('a');
  expect(client.take()).toEqual([]);
  farm.worker('b');
  expect(client.take()).toEqual([{ op: 'reply', request: 7, answer: 2, error: null }]);
  expect(gone.take()).toEqual([]);
});

describe('explain', () => {
  const explained = (client: FakeClient, key: string): Explanation | undefined =>
    answer(client, 'explain', { key });

  test('a key nobody knows', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    client.submit({ key: 'm', count: 3 });
    for (const key of ['nope', 'm', 'm-3', 'm-01', 'm-x', '__proto__', 'constructor-1']) {
      expect(explained(client, key)?.state).toBeNull();
    }
    expect(explained(client, 'm-2')?.state).toBe('no-worker');
  });

  test('for each worker why a ready task does not run there', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    farm.worker('none', { nthreads: 8 });
    farm.worker('small', { nthreads: 8, resources: amounts({ GPU: 1 }) });
    farm.worker('narrow', { nthreads: 1, resources: amounts({ GPU: 4 }) });
    farm.worker('other', { nthreads: 8, resources: amounts({ GPU: 4 }) });
    const names = ['none', 'small', 'narrow', 'full', 'left'];
    const options = { resources: amounts({ GPU: 2, threads: 2 }), workers: names };
    client.submit({ key: 'x', count: 3, options });
    expect(explained(client, 'x-0')?.summary).toContain('no connected worker offers that');
    const full = farm.worker('full', { nthreads: 8, resources: amounts({ GPU: 3 }) });
    const left = farm.worker('left', { nthreads: 2, resources: amounts({ GPU: 2.5 }) });
    left.leave();
    expect(full.keys()).toEqual(['x-0']);
    const { state, summary, workers } = explained(client, 'x-2') ?? {};
    expect(state).toBe('queued');
    expect(summary).toContain('waits for a worker with 2 threads, GPU=2 on');
    expect(summary).toContain('it is the first of them');
    const reasons = new Map(workers?.map(({ worker, reason }) => [worker, reason]));
    expect(reasons).toEqual(
      new Map([
        ['none', 'it has no resource GPU'],
        ['small', 'too little GPU: it has 1, 2 is needed'],
        ['narrow', 'not enough threads: it has 1, 2 are needed'],
        ['other', `the task is restricted to ${names.toSorted().join(', ')}`],
        ['full', 'full: 1 GPU is free, 2 is needed'],
        ['left', 'it is leaving'],
      ]),
    );
  });

  test('what a task waits for, where it runs, where its result is, why it failed', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    expect(explained(client, 'x')?.summary).toContain('not known');
    const x = client.submit({ key: 'x' });
    const y = client.submit({ key: 'y', deps: [[x]] });
    client.submit({ key: 'z', deps: [[x, y]] });
    expect(explained(client, 'x')?.summary).toContain('no worker is connected');
    const worker = farm.worker('w');
    expect(explained(client, 'z')).toMatchObject({ state: 'waiting', waitingFor: ['x', 'y'] });
    expect(explained(client, 'x')?.summary).toBe('x is assigned to worker w as run 1');
    worker.beat(1);
    expect(explained(client, 'x')?.summary).toContain('and executes there');
    worker.finish({ x: 'v' });
    expect(explained(client, 'x')?.summary).toBe('x is done: 1 bytes on w');
    worker.fail('y');
    expect(explained(client, 'z')?.summary).toBe('z failed: boom');
    client.release(x);
    expect(explained(client, 'x')).toMatchObject({ state: 'released' });
  });

  test('a full worker is named as such', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    farm.worker('w', { nthreads: 2 });
    client.submit({ key: 'm', count: 3 });
    expect(explained(client, 'm-2')?.workers).toEqual([
      { worker: 'w', reason: 'full: 2 of 2 threads are assigned' },
    ]);
  });
});

describe('story', () => {
  test('every transition with its cause, run and worker', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const worker = farm.worker('w');
    client.submit({ key: 'm', count: 2, options: { retries: 1 } });
    worker.fail('m-0');
    worker.lose('gone');
    const story = answer(client, 'story', { key: 'm-0' });
    expect(
      story?.map(({ from, to, cause, run, worker: on }) => [from, to, cause, run, on]),
    ).toEqual([
      ['released', 'queued', 'submit', null, null],
      ['queued', 'processing', 'placed', 1, 'w'],
      ['processing', 'waiting', 'run failed, retry 1: boom', 1, 'w'],
      ['waiting', 'queued', 'run failed, retry 1: boom', null, null],
      ['queued', 'processing', 'placed', 2, 'w'],
      ['processing', 'waiting', 'worker w lost: gone', 2, 'w'],
      ['waiting', 'no-worker', 'worker w lost: gone', null, null],
    ]);
    expect(answer(client, 'story', { key: 'm-1' })).toHaveLength(2);
    expect(answer(client, 'story', { key: 'm-2' })).toEqual([]);
  });

  test('it is bounded: the oldest entries make room', () => {
    const farm = new SchedulerHarness({ storyEntriesMax: 10 });
    const client = farm.client('c');
    const worker = farm.worker('w', { nthreads: 4 });
    client.submit({ key: 'old' });
    for (let i = 0; i < 5; i++) {
      client.submit({ key: `new${i}` });
      worker.finish();
    }
    expect(answer(client, 'story', { key: 'old' })).toEqual([]);
    expect(answer(client, 'story', { key: 'new4' })).toHaveLength(3);
  });
});

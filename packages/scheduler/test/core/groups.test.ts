/** Goal: whoever asks is told how far each part of the work has come, at any time. */
import { expect, test } from 'vitest';

import { SchedulerHarness } from './scheduler-harness.ts';
import type { FakeClient } from './scheduler-harness.ts';

function ask(client: FakeClient, ...keys: readonly string[]): unknown {
  return client.answer(client.ask('groups', { keys }));
}

test('a group is what was mapped together, or is run by one function', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  expect(ask(client)).toEqual([]);
  const load = client.submit({ key: 'in', fn: 'load', count: 6 });
  client.submit({ key: 'one', fn: 'use', deps: [[load]] });
  client.submit({ key: 'other', fn: 'use', deps: [[load + 1]] });
  client.scatter(['value']);
  const none = { released: 0, waiting: 0, processing: 0, memory: 0, erred: 0, forgotten: 0 };
  expect(ask(client)).toEqual([
    {
      key: 'use',
      fn: 'use',
      tasks: { ...none, queued: 0, 'no-worker': 0, waiting: 2 },
      bytes: 0,
      computeMs: 0,
    },
    {
      key: 'in',
      fn: 'load',
      tasks: { ...none, queued: 0, 'no-worker': 6 },
      bytes: 0,
      computeMs: 0,
    },
  ]);
  const worker = farm.worker('w');
  worker.finishLarge('in-0', 5_000, 1e6);
  worker.finishLarge('one', 7_000, 2e6);
  expect(ask(client, 'in')).toMatchObject([
    { key: 'in', tasks: { memory: 1, processing: 1, queued: 4 }, bytes: 5_000, computeMs: 1_000 },
  ]);
  worker.fail('in-1');
  client.release(load + 5);
  expect(ask(client)).toMatchObject([
    { key: 'use', tasks: { memory: 1, erred: 1 }, bytes: 7_000, computeMs: 2_000 },
    { key: 'in', tasks: { memory: 1, erred: 1, processing: 1, queued: 2, forgotten: 1 } },
  ]);
});

test('the tasks of all groups are those the scheduler counts, whatever happens', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const workers = ['a', 'b'].map((name) => farm.worker(name, { nthreads: 2 }));
  for (let round = 0; round < 40; round++) {
    const first = client.submit({ key: `m${round}`, fn: `f${round % 3}`, count: 1 + (round % 5) });
    client.submit({ key: `s${round}`, fn: `f${round % 2}`, deps: [[first]] });
    const worker = workers[round % 2];
    const [run] = worker?.runs ?? [];
    if (run !== undefined && round % 7 === 0) worker?.fail(run.key);
    else worker?.finish('all', 1e6);
    if (round % 4 === 0) client.release(first);
    if (round === 20) workers[1]?.lose();
    const sums = new Map<string, number>();
    // SAFE: it is what the question is answered with.
    for (const { tasks } of ask(client) as readonly { tasks: Record<string, number> }[]) {
      for (const [state, count] of Object.entries(tasks)) {
        sums.set(state, (sums.get(state) ?? 0) + count);
      }
    }
    sums.set('forgotten', 0);
    expect(Object.fromEntries(sums)).toEqual(farm.core.counts());
  }
});

test('the latest are told, where there are too many', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  for (let round = 0; round < 1_003; round++) client.submit({ key: `m${round}`, count: 1 });
  // SAFE: it is what the question is answered with.
  const answer = ask(client) as readonly { key: string }[];
  expect([answer.length, answer[0]?.key, answer.at(-1)?.key]).toEqual([1_000, 'm1002', 'm3']);
  expect(ask(client, 'm0')).toMatchObject([{ key: 'm0' }]);
});

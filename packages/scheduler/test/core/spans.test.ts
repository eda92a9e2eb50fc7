/** How far the parts of a user's work are. */
import { ask, LIMITS } from '@farm/protocol/core';
import type { SpanInfo } from '@farm/protocol/core';
import { expect, test } from 'vitest';

import { SchedulerHarness } from './scheduler-harness.ts';
import type { FakeClient } from './scheduler-harness.ts';

function spansOf(client: FakeClient, ...path: readonly string[]): Map<string, SpanInfo> {
  client.say(ask(7, 'spans', { path }));
  const [reply] = client.taken('reply');
  // SAFE: the answer of `spans` is a list of them.
  const spans = reply?.answer as readonly SpanInfo[];
  return new Map(spans.map((span) => [span.path.join('.'), span]));
}

test('a span counts its tasks by state, from the first submit to the last end', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const worker = farm.worker('w', { nthreads: 2 });
  const startMs = farm.nowMs;
  const first = client.submit({ key: 'm', count: 4, options: { spans: ['load'] } });
  client.submit({ count: 7 });
  expect(spansOf(client).get('load')).toMatchObject({
    path: ['load'],
    tasks: { queued: 2, processing: 2, memory: 0 },
    startMs,
    stopMs: null,
    computeMs: 0,
  });
  farm.nowMs += 10;
  worker.finish({ 'm-0': 'v' }, 3_000);
  worker.fail('m-1');
  worker.finish({ 'm-2': 'v' }, 4_500);
  farm.nowMs += 10;
  worker.finish({ 'm-3': 'v' }, 500);
  const stopMs = farm.nowMs;
  farm.nowMs += 10;
  const done = { startMs, stopMs, computeMs: 8 };
  expect(spansOf(client).get('load')).toMatchObject({ ...done, tasks: { memory: 3, erred: 1 } });
  client.release(first, first + 1, first + 2, first + 3);
  const { tasks } = spansOf(client).get('load') ?? {};
  expect(tasks).toMatchObject({ memory: 0, erred: 0, released: 0, forgotten: 4 });
});

test('an outer span has what is in its inner ones', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  client.submit({ key: 'a', count: 2, options: { spans: ['run', 'load'] } });
  farm.nowMs += 5;
  client.submit({ key: 'b', options: { spans: ['run', 'solve', 'mesh'] } });
  client.submit({ key: 'c', options: { spans: ['run'] } });
  client.submit({ key: 'd', options: { spans: ['other'] } });
  const unrunnable = (spans: Map<string, SpanInfo>): (readonly [string, number])[] =>
    [...spans].map(([path, span]) => [path, span.tasks['no-worker']]);
  expect(unrunnable(spansOf(client))).toEqual([
    ['run', 4],
    ['run.load', 2],
    ['run.solve', 1],
    ['run.solve.mesh', 1],
    ['other', 1],
  ]);
  expect(unrunnable(spansOf(client, 'run', 'solve'))).toEqual([
    ['run.solve', 1],
    ['run.solve.mesh', 1],
  ]);
  expect(spansOf(client).get('run')?.startMs).toBe(farm.nowMs - 5);
  expect(spansOf(client, 'no').size).toBe(0);
});

test('spans are bounded: those without tasks make room, those with tasks stay', () => {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  client.submit({ options: { spans: ['stays'] } });
  for (let at = 0; at < LIMITS.spansMax + 10; at++) {
    client.release(client.submit({ options: { spans: [`s${at}`] } }));
  }
  const spans = spansOf(client);
  expect(spans.size).toBe(LIMITS.spansMax);
  expect([spans.has('stays'), spans.has('s0'), spans.has(`s${LIMITS.spansMax}`)]).toEqual([
    true,
    false,
    true,
  ]);
});

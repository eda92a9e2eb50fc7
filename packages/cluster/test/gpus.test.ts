/**
 * Goal: on real processes too, tasks of two GPUs, of one and of none share two workers with two
 * GPUs each: never more is used than there is, the large one is not put off, all slots are used.
 */
import { Client } from '@farm/client';
import type { Future } from '@farm/client';
import { expect, test } from 'vitest';

import { Site } from './processes.ts';

interface Span {
  readonly worker: string;
  readonly gpus: number;
  readonly startMs: number;
  readonly endMs: number;
}

/** The most that was in use at a time, by what the tasks themselves say of when they ran. */
function most(spans: readonly Span[], amount: (span: Span) => number): number {
  // At the same moment ends come first.
  const changes = spans
    .flatMap((span) => [
      { atMs: span.startMs, by: amount(span) },
      { atMs: span.endMs, by: -amount(span) },
    ])
    .toSorted((a, b) => a.atMs - b.atMs || a.by - b.by);
  let used = 0;
  return Math.max(...changes.map(({ by }) => (used += by)));
}

test('1 task of two GPUs, 100 of one and 100 of none', { timeout: 120_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  const names = ['first', 'second'];
  for (const name of names) {
    site.worker('--name', name, '--nthreads', '3', '--resources', 'GPU=2', '--no-nanny');
  }
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(2, { timeoutMs: 30_000 });
  const work = async (ms: number): Promise<readonly [number, number]> => {
    const start = Date.now();
    await new Promise((resolve) => setTimeout(resolve, ms));
    return [start, Date.now()];
  };
  const submitted: [gpus: number, future: Future<readonly [number, number]>][] = [];
  const submit = (gpus: number, count: number, ms: number): void => {
    const resources = gpus === 0 ? {} : { GPU: gpus };
    const times = Array.from({ length: count }, (_, index) => ms + (index % 7) * 5);
    for (const future of client.with({ resources }).map(work, times))
      submitted.push([gpus, future]);
  };
  submit(1, 50, 40);
  submit(0, 100, 20);
  submit(2, 1, 60);
  submit(1, 50, 40);
  const spans: Span[] = [];
  for (const [gpus, future] of submitted) {
    const [startMs, endMs] = await future.result({ timeoutMs: 60_000 });
    spans.push({ worker: future.worker ?? '', gpus, startMs, endMs });
  }
  for (const name of names) {
    const own = spans.filter(({ worker }) => worker === name);
    expect(most(own, ({ gpus }) => gpus)).toBe(2);
    expect(most(own, () => 1)).toBe(3);
  }
  const large = spans.filter(({ gpus }) => gpus === 2);
  expect(large).toHaveLength(1);
  // It began before the last of those that were submitted after it.
  const after = spans.slice(-50).map(({ startMs }) => startMs);
  expect(large[0]?.startMs).toBeLessThan(Math.max(...after));
  const { tasks, workers } = await client.schedulerInfo();
  expect([tasks.memory, tasks.processing, tasks.queued]).toEqual([201, 0, 0]);
  expect(workers.map(({ processing }) => processing)).toEqual([0, 0]);
});

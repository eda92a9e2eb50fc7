import type { SchedulerInfo } from '@farm/protocol';
import { afterEach, describe, expect, test, vi } from 'vitest';

import { StallWatch } from '../src/stall-watch.ts';
import { connectFake } from './fake-scheduler.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** A watch over a scheduler that has so many tasks in these states, and what it said. */
async function watchOver(
  counts: Partial<SchedulerInfo['tasks']>,
  hasWorkers: boolean,
  heldUp: readonly string[] = [],
): Promise<{ watch: StallWatch; lines: readonly string[]; asked: () => number }> {
  await using rig = connectFake();
  const info = rig.scheduler.info();
  const workers = hasWorkers ? info.workers : [];
  const lines: string[] = [];
  let asked = 0;
  const watch = new StallWatch({
    ask: () => {
      asked += 1;
      const tasks = { ...info.tasks, ...counts };
      return Promise.resolve({ ...info, workers, tasks, heldUp });
    },
    say: (line) => lines.push(line),
  });
  return { watch, lines, asked: () => asked };
}

describe('a user who waits while no task can run', () => {
  test('is told after three seconds that there is no worker, once', async () => {
    const { watch, lines } = await watchOver({ 'no-worker': 2 }, false);
    await watch.beat(1_000);
    await watch.beat(3_999);
    expect(lines).toEqual([]);
    for (let nowMs = 4_000; nowMs < 60_000; nowMs += 500) await watch.beat(nowMs);
    expect(lines).toEqual([
      '2 tasks wait for a worker: none is connected to the scheduler at tcp://127.0.0.1:8786',
    ]);
  });

  test('is told which task cannot begin, since tasks that wait hold what it needs', async () => {
    const sentence =
      'child needs GPU=1: parent holds that until it ends, and waits for other tasks';
    const { watch, lines } = await watchOver({ processing: 1, queued: 1 }, true, [sentence, 'x']);
    for (let nowMs = 0; nowMs < 60_000; nowMs += 500) await watch.beat(nowMs);
    expect(lines).toEqual([sentence]);
  });

  test('is told again where that happens again', async () => {
    const { watch, lines } = await watchOver({ 'no-worker': 1 }, true);
    for (const nowMs of [0, 3_000, 6_000]) await watch.beat(nowMs);
    watch.reset();
    for (const nowMs of [7_000, 9_000]) await watch.beat(nowMs);
    expect(lines).toEqual([expect.stringContaining('1 task waits: no connected worker offers')]);
    await watch.beat(10_000);
    expect(lines).toHaveLength(2);
  });

  test.each(['processing', 'queued'] as const)(
    'is told nothing while a task is %s, and the scheduler is asked seldom',
    async (state) => {
      const { watch, lines, asked } = await watchOver({ 'no-worker': 1, [state]: 1 }, true);
      for (let nowMs = 0; nowMs < 48_000; nowMs += 500) await watch.beat(nowMs);
      expect(lines).toEqual([]);
      expect(asked()).toBe(4);
    },
  );

  test('reads it on standard error', async () => {
    const lines: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => lines.push(String(text)) > 0);
    await using rig = connectFake(100);
    rig.scheduler.workers = [];
    rig.scheduler.counts = { ...rig.scheduler.counts, 'no-worker': 1 };
    const result = rig.client.submit((x: number) => x, 1).result();
    await vi.waitUntil(() => lines.length > 0, { timeout: 20_000 });
    rig.scheduler.finish([[1, 1]]);
    await result;
    expect(lines).toEqual([
      '1 task waits for a worker: none is connected to the scheduler at tcp://127.0.0.1:8786\n',
    ]);
  });
});

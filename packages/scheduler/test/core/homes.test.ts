import { describe, expect, test } from 'vitest';

import { SchedulerHarness, type FakeWorker } from './scheduler-harness.ts';
import { VirtualWorkers } from './virtual-workers.ts';

const MB = 1_000_000;

interface Played {
  /** Keys each worker ran, in order. */
  readonly ran: Map<string, string[]>;
  /** Inputs that had to be brought to a worker. */
  readonly brought: number;
}

/** Plays a graph of two blocks on workers of one slot; all results are large. */
function play(
  workers: number,
  graph: { readonly roots: number; readonly uses: readonly (readonly number[])[] },
  durationMs = 8,
): Played {
  const farm = new SchedulerHarness();
  const client = farm.client('c');
  const hold = client.submit({ key: 'hold', options: { workers: ['nobody'] } });
  const first = client.submit({ key: 'root', fn: 'root', count: graph.roots });
  const deps = graph.uses.map((indices) => indices.map((index) => first + index));
  client.submit({ key: 'use', fn: 'use', count: deps.length, deps });
  client.release(hold, ...Array.from({ length: graph.roots }, (_, index) => first + index));
  const slots = new Map<FakeWorker, number>();
  for (let index = 0; index < workers; index++) slots.set(farm.worker(`w${index}`), 1);
  const cluster = new VirtualWorkers(farm, slots, () => ({ durationMs, size: MB }));
  cluster.play();
  const ran = new Map<string, string[]>();
  const at = new Map<string, string>();
  let brought = 0;
  for (const [key, worker] of cluster.started) {
    at.set(key, worker);
    ran.set(worker, [...(ran.get(worker) ?? []), key]);
    if (!key.startsWith('use')) continue;
    const inputs = graph.uses[Number(key.slice(4))] ?? [];
    for (const index of inputs) if (at.get(`root-${index}`) !== worker) brought += 1;
  }
  return { ran, brought };
}

describe('neighbours in a block', () => {
  test('are made on one worker, so that windows over them find their inputs there', () => {
    const uses = Array.from({ length: 200 }, (_, i) => [i, Math.min(i + 1, 199)]);
    const { ran, brought } = play(4, { roots: 200, uses });
    expect([...ran.values()].map(({ length }) => length > 60)).toEqual([true, true, true, true]);
    // Of 399 inputs, those at the borders, and of what idle workers took over at the end.
    expect(brought).toBeLessThan(40);
  });

  test('that are used together are not separated at the borders', () => {
    const uses = Array.from({ length: 20 }, (_, i) =>
      Array.from({ length: 8 }, (__, j) => 8 * i + j),
    );
    const { brought } = play(3, { roots: 160, uses });
    expect(brought).toBeLessThan(24);
  });

  test('are taken over by a worker that has done its own', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const first = client.submit({ key: 'hold', options: { workers: ['nobody'] } });
    const x = client.submit({ key: 'x', fn: 'root', count: 40 });
    client.submit({ key: 'sum', deps: [Array.from({ length: 40 }, (_, i) => x + i)] });
    client.release(first);
    const slots = new Map([farm.worker('a'), farm.worker('b')].map((worker) => [worker, 1]));
    const isSlow = (key: string): boolean => Number(key.slice(2)) < 20;
    const cluster = new VirtualWorkers(farm, slots, (key) => ({
      durationMs: isSlow(key) ? 30 : 1,
      size: MB,
    }));
    cluster.play();
    const slow = cluster.started.filter(([key]) => key.startsWith('x') && isSlow(key));
    const byA = slow.filter(([, worker]) => worker === 'a').length;
    expect(slow.length).toBe(20);
    expect(byA).toBeGreaterThan(5);
    expect(byA).toBeLessThan(15);
    expect(farm.core.counts()).toMatchObject({ memory: 41, queued: 0, processing: 0 });
  });
});

describe('what is used together, far apart in a block,', () => {
  test('is made where the first of it was made', () => {
    const uses = Array.from({ length: 50 }, (_, i) => [i, i + 50]);
    const { brought } = play(4, { roots: 100, uses });
    expect(brought).toBeLessThan(12);
  });
});

describe('a consumer of a large result', () => {
  test('waits a little at its holder while there is other work for idle workers', () => {
    const uses = Array.from({ length: 80 }, (_, i) => [i >> 1]);
    const { brought } = play(4, { roots: 40, uses });
    expect(brought).toBeLessThan(8);
  });

  test('goes to an idle worker on the same host rather than over the network', () => {
    const farm = new SchedulerHarness();
    const client = farm.client('c');
    const holder = farm.worker('holder', { host: 'near' });
    const x = client.submit({ key: 'x' });
    holder.finishLarge('x', 40 * MB, 1_000);
    client.submit({ key: 'long', fn: 'long' });
    const workers = ['far', 'near', 'far', 'near'].map((host, index) =>
      farm.worker(`w${index}`, { host }),
    );
    client.submit({ key: 'y', deps: [[x]] });
    client.submit({ key: 'z', deps: [[x]] });
    expect(workers.map((worker) => worker.keys())).toEqual([[], ['y'], [], ['z']]);
  });
});

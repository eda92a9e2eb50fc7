/** Tasks that submit tasks and wait for them, on as few slots as there can be. */
import { Client, getClient } from '@farm/client';
import { LocalCluster } from '@farm/cluster';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { until } from './processes.ts';

let cluster: LocalCluster;
let client: Client;

beforeAll(async () => {
  cluster = await LocalCluster.start({ workers: 1, threadsPerWorker: 1, dashboardAddress: null });
  client = new Client(cluster);
});

afterAll(async () => {
  await client.close();
  await cluster.close();
});

const descend = async (depth: number): Promise<number> => {
  if (depth === 0) return 0;
  const inner = await getClient();
  return 1 + (await inner.submit(descend, depth - 1).result());
};

const fib = async (n: number): Promise<number> => {
  if (n < 2) return n;
  const inner = await getClient();
  const [a, b] = await inner.gather([inner.submit(fib, n - 1), inner.submit(fib, n - 2)]);
  return (a ?? 0) + (b ?? 0);
};

describe.each(['threads', 'processes'] as const)('on one slot of %s', (executor) => {
  test('tasks wait for tasks to a depth of 100', { timeout: 60_000 }, async () => {
    expect(await client.with({ executor }).submit(descend, 100).result()).toBe(100);
  });

  test('a tree of tasks ends, and leaves nothing behind', { timeout: 60_000 }, async () => {
    expect(await client.with({ executor }).submit(fib, 9).result()).toBe(34);
    await until('the slot is free', async () => {
      const [worker] = (await client.schedulerInfo()).workers;
      return worker?.processing === 0;
    });
  });
});

test('a task that waits for others and is cancelled ends; the slot goes on', async () => {
  const waits = client.submit(async () => {
    const inner = await getClient();
    await inner
      .submit(() => new Promise<number>((resolve) => setTimeout(resolve, 600, 1)))
      .result();
  });
  await until('its child runs', async () => {
    const [worker] = (await client.schedulerInfo()).workers;
    return worker?.processing === 2;
  });
  const next = client.submit(() => 'next');
  waits.cancel();
  await expect(waits.result()).rejects.toMatchObject({ code: 'ERR_CANCELLED' });
  expect(await next.result()).toBe('next');
});

test('a task that waits for one that needs its device is told of, and goes on with another', async () => {
  const options = { workers: 1, threadsPerWorker: 2, resources: { GPU: 1 } };
  await using small = await LocalCluster.start({ ...options, dashboardAddress: null });
  await using outer = new Client(small);
  const parent = outer.with({ key: 'parent', resources: { GPU: 1 } }).submit(async () => {
    const inner = await getClient();
    return inner
      .with({ key: 'child', resources: { GPU: 1 } })
      .submit(() => 'child')
      .result();
  });
  await until('the child is explained', async () => {
    const { summary } = await outer.explain('child');
    return summary.includes('parent holds that until it ends, and waits for other tasks');
  });
  await until('it is told', async () => (await outer.schedulerInfo()).heldUp.length > 0);
  await small.scale(2);
  expect(await parent.result()).toBe('child');
});

test('there is no client of a task outside one', async () => {
  await expect(getClient()).rejects.toMatchObject({ code: 'ERR_ARGUMENT' });
});

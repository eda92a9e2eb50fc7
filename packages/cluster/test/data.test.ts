import { Client } from '@farm/client';
import { expect, test } from 'vitest';

import { hasMemoryFiles } from '../../worker/test/shell/memory-files/file-values.ts';
import { Site, until } from './processes.ts';

// Goal: data is where it was asked to be, in real processes, and is lost only with a clear reason.

test(
  'scattered values are used, copied, moved off a retiring worker, and lost',
  {
    timeout: 60_000,
  },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    for (const name of ['a', 'b']) site.worker('--nthreads', '1', '--no-nanny', '--name', name);
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(2, { timeoutMs: 20_000 });

    const [one, two, same] = client.scatter([{ x: 1 }, { x: 2 }, { x: 1 }]);
    if (one === undefined || two === undefined || same === undefined) throw new Error('no futures');
    expect(same.key).toBe(one.key);
    expect(await client.gather([one, two, same])).toEqual([{ x: 1 }, { x: 2 }, { x: 1 }]);
    const sum = client.submit((p: { x: number }, q: { x: number }) => p.x + q.x, one, two);
    expect(await sum.result()).toBe(3);

    const table = client.scatter(new Float64Array(100_000).fill(1), { broadcast: true });
    await table.result();
    await until('the broadcast is everywhere', async () => {
      const [held] = await client.whoHas([table]);
      return held?.workers.length === 2;
    });
    const big = client.with({ workers: 'a' }).submit(() => new Uint8Array(1_000_000).fill(7));
    await until('the result is there', () => big.done);
    expect(await client.replicate([big])).toMatchObject({ copied: 1, failed: [] });
    expect(await client.replicate([big], { n: 1 })).toMatchObject({ dropped: 1 });

    expect(await client.retireWorkers({ workers: 'a' })).toEqual({ retired: ['a'], kept: [] });
    expect((await big.result()).byteLength).toBe(1_000_000);
    expect(await client.gather([one, two])).toEqual([{ x: 1 }, { x: 2 }]);
    const { kept } = await client.retireWorkers({ workers: 'b' });
    expect(kept[0]?.worker).toBe('b');
    expect(kept[0]?.reason).toMatch(/^no-recipients/);
    expect(await client.submit(() => 'still here').result()).toBe('still here');
  },
);

test('scattered values that are lost say so', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  await using client = new Client({ schedulerFile: site.schedulerFile });
  const early = client.scatter('nobody is there', { timeoutMs: 10 });
  expect(await early.exception()).toMatchObject({ code: 'ERR_NO_WORKER' });
  const worker = site.worker('--nthreads', '1', '--no-nanny', '--name', 'only');
  const value = client.scatter({ x: 1 });
  await until('the value is there', () => value.done);
  const late = client.with({ workers: 'other' }).submit((v: { x: number }) => v.x, value);
  // It ends on purpose, so that it is not waited for.
  worker.child.kill('SIGTERM');
  expect(await late.exception()).toMatchObject({ code: 'ERR_LOST_DATA' });
});

test('a retry is for the errors that are named', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '1', '--no-nanny');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  const fail = async (name: string): Promise<never> => {
    const { appendFileSync } = await import('node:fs');
    appendFileSync('attempts.txt', `${name}\n`);
    throw name === 'TypeError' ? new TypeError('t') : new RangeError('r');
  };
  const retrying = client.with({ retries: { count: 2, delayMs: 1, on: ['TypeError'] } });
  const futures = retrying.map(fail, ['TypeError', 'RangeError']);
  await Promise.all(futures.map((future) => future.exception()));
  const read = client.submit(async () => {
    const { readFileSync } = await import('node:fs');
    return readFileSync('attempts.txt', 'utf8').trim().split('\n').toSorted();
  });
  expect(await read.result()).toEqual(['RangeError', 'TypeError', 'TypeError', 'TypeError']);
});

test.runIf(hasMemoryFiles())(
  'a large result is mapped by a task on another worker of the host, and is each one’s own',
  { timeout: 60_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    for (const name of ['a', 'b']) site.worker('--nthreads', '1', '--name', name);
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(2, { timeoutMs: 20_000 });
    const [onA, onB] = ['a', 'b'].map((workers) => client.with({ workers }));
    if (onA === undefined || onB === undefined) throw new Error('two workers');

    const made = onA.submit((length: number) => new Float64Array(length).fill(3), 5_000_000);
    const use = async (values: Float64Array): Promise<readonly number[]> => {
      const { readFileSync } = await import('node:fs');
      const maps = readFileSync('/proc/self/maps', 'utf8');
      const sum = values.reduce((total, value) => total + value, 0);
      values.fill(9);
      return [sum, maps.split('memfd:farm-result').length - 1];
    };
    for (const client of [onB, onA, onB]) {
      const [sum, mapped] = await client.submit(use, made).result();
      expect(sum).toBe(15_000_000);
      expect(mapped).toBeGreaterThan(0);
    }
    // What was written to went with the task that wrote it.
    expect((await made.result()).subarray(0, 2)).toEqual(Float64Array.of(3, 3));

    const scattered = client.scatter(new Float64Array(5_000_000).fill(3));
    for (const [sum, mapped] of await client.gather(
      [1, 2, 3].map(() => onA.submit(use, scattered)),
    )) {
      expect(sum).toBe(15_000_000);
      expect(mapped).toBeGreaterThan(0);
    }
  },
);

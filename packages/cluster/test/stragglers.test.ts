/**
 * Goal: on real processes, a task that hangs on one worker is done by another where it asked for
 * that; and what a task submits runs before its siblings that have not started.
 */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { Client } from '@farm/client';
import type * as clientModule from '@farm/client';
import { expect, test } from 'vitest';

import { Site, until } from './processes.ts';

test('a task that hangs is done by another worker, and its thread there is stopped', async () => {
  await using site = await Site.open();
  site.scheduler();
  for (const name of ['one', 'other']) site.worker('--name', name, '--nthreads', '1', '--no-nanny');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(2, { timeoutMs: 30_000 });
  const work = async (directory: string, index: number): Promise<string> => {
    const { mkdirSync } = await import('node:fs');
    let run = 'second';
    try {
      mkdirSync(`${directory}/begun-${index}`);
      run = 'first';
    } catch {
      // It has begun before.
    }
    const hangs = index === 5 && run === 'first';
    await new Promise((resolve) => setTimeout(resolve, hangs ? 2 ** 30 : 50));
    return run;
  };
  const hasty = client.with({ key: 'work', speculate: { factor: 3, minMs: 500 } });
  const futures = hasty.map(work, Array<string>(6).fill(site.directory), [0, 1, 2, 3, 4, 5]);
  const results = await Promise.all(futures.map((future) => future.result({ timeoutMs: 60_000 })));
  expect(results).toEqual([...Array<string>(5).fill('first'), 'second']);
  const causes = (await client.story('work-5')).map(({ cause }) => cause);
  expect(causes).toContainEqual(expect.stringMatching(/^started once more, since it has run on/));
  // Both slots are free again, that of the run that hung too.
  const both = client.map((x: number) => x, [1, 2]);
  for (const future of both) await future.result({ timeoutMs: 30_000 });
  await until('no run is left', async () => {
    const { workers } = await client.schedulerInfo();
    return workers.every(({ processing }) => processing === 0);
  });
}, 120_000);

test('what a task submits runs before its siblings that have not started', async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--name', 'one', '--nthreads', '2', '--no-nanny');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1, { timeoutMs: 30_000 });
  const family = async (
    index: number,
    { log, ready, schedulerFile, farm }: Readonly<Record<string, string>>,
  ): Promise<number> => {
    const { appendFileSync, existsSync, writeFileSync } = await import('node:fs');
    appendFileSync(log ?? '', `${index} `);
    if (index === 1) {
      while (!existsSync(ready ?? '')) await new Promise((resolve) => setTimeout(resolve, 10));
    }
    if (index > 0) return index;
    // SAFE: it is the client's entry.
    const { Client } = (await import(farm ?? '')) as typeof clientModule;
    await using inner = new Client({ schedulerFile: schedulerFile ?? '' });
    const record = async (file: string): Promise<number> => {
      const { appendFileSync } = await import('node:fs');
      appendFileSync(file, 'child ');
      return 41;
    };
    const child = inner.with({ key: 'child' }).submit(record, log ?? '');
    await inner.explain(child);
    writeFileSync(ready ?? '', '');
    return (await child.result()) + 1;
  };
  const log = join(site.directory, 'log');
  const shared = {
    log,
    ready: join(site.directory, 'ready'),
    schedulerFile: site.schedulerFile,
    farm: new URL('../../client/dist/index.js', import.meta.url).href,
  };
  const futures = [0, 1, 2, 3, 4].map((index) => client.submit(family, index, shared));
  const results = await Promise.all(futures.map((future) => future.result({ timeoutMs: 60_000 })));
  expect(results).toEqual([42, 1, 2, 3, 4]);
  expect(existsSync(log)).toBe(true);
  const order = readFileSync(log, 'utf8').trim().split(' ');
  expect(order.slice(0, 2).toSorted()).toEqual(['0', '1']);
  // The parent gives up its slot while it waits, so that the child and the next sibling may begin
  // at one moment: what counts is who was given a slot first.
  const [child, sibling] = await Promise.all(['child', futures[2]?.key ?? ''].map(runOf));
  expect(child).toBeLessThan(Number(sibling));

  async function runOf(key: string): Promise<number | null | undefined> {
    return (await client.story(key)).find(({ to }) => to === 'processing')?.run;
  }
}, 120_000);

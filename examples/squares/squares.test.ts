import { Client } from '@farm/client';
import { expect, test } from 'vitest';

import { Site, until } from '../../packages/cluster/test/processes.ts';
import { runScript } from '../testing/run-script.ts';

// Goal: the processes tutorial works as written, also when workers come and go while it computes.

test('sixteen squares on eight slots', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '4', '--memory-limit', '0');
  site.worker('--nthreads', '4', '--memory-limit', '0');
  const run = await runScript('squares/squares.ts', ['scheduler.json'], { cwd: site.directory });
  expect(run.stderr.replaceAll(/^waiting for a scheduler .*\n/gm, '')).toBe('');
  expect(run.exitCode).toBe(0);
  expect(run.stdout).toMatch(
    /^Result: \[0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100, 121, 144, 169, 196, 225\] Computation time: \d+\.\d{3}\n$/,
  );
});

test('a worker that joins during a run takes part in it', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '2', '--name', 'first');
  const run = runScript('squares/squares.ts', ['scheduler.json', '24'], { cwd: site.directory });
  await using observer = new Client({ schedulerFile: site.schedulerFile });
  await until('it computes', async () => (await runningOn(observer, 'first')) > 0);
  site.worker('--nthreads', '8', '--name', 'second');
  await until('the new worker computes too', async () => (await runningOn(observer, 'second')) > 0);
  expect(resultOf(await run)).toEqual(squares(24));
});

test('a worker killed during a run changes nothing but the time', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '4', '--name', 'first');
  const second = site.worker('--nthreads', '4', '--name', 'second', '--no-nanny');
  const run = runScript('squares/squares.ts', ['scheduler.json', '16'], { cwd: site.directory });
  await using observer = new Client({ schedulerFile: site.schedulerFile });
  await until('both compute', async () => {
    return (await runningOn(observer, 'first')) > 0 && (await runningOn(observer, 'second')) > 0;
  });
  second.child.kill('SIGKILL');
  expect(resultOf(await run)).toEqual(squares(16));
  const { workers } = await observer.schedulerInfo();
  expect(workers.map(({ name }) => name)).toEqual(['first']);
});

async function runningOn(observer: Client, worker: string): Promise<number> {
  const { workers } = await observer.schedulerInfo();
  return workers.find(({ name }) => name === worker)?.processing ?? 0;
}

function resultOf(run: { readonly stdout: string }): readonly number[] {
  const list = /^Result: (\[.*\])/.exec(run.stdout)?.[1] ?? 'null';
  return JSON.parse(list) as readonly number[];
}

function squares(count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => index ** 2);
}

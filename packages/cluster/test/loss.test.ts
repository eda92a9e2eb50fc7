import { readFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Client, arg, asCompleted, command } from '@farm/client';
import { expect, test } from 'vitest';

import { Site, isAlive, until } from './processes.ts';

// Goal: whatever dies, every result arrives, each once, and nothing hangs.

test('a farm of commands survives kill -9 of a worker half-way', { timeout: 90_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  const workers = [
    site.worker('--nthreads', '2', '--no-nanny', '--name', 'a'),
    site.worker('--nthreads', '2', '--no-nanny', '--name', 'b'),
  ];
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(2, { timeoutMs: 20_000 });

  const count = 400;
  const inputs = Array.from({ length: count }, (_, index) => String(index));
  const seen = new Map<string, number>();
  for await (const future of asCompleted(client.map(command('echo', [arg(0)]), inputs))) {
    const { stdout } = await future.result();
    seen.set(stdout.trim(), (seen.get(stdout.trim()) ?? 0) + 1);
    if (seen.size === count / 2) workers[0]?.child.kill('SIGKILL');
  }
  expect(seen.size).toBe(count);
  expect([...seen.values()].every((times) => times === 1)).toBe(true);
  expect((await client.schedulerInfo()).workers.map((worker) => worker.name)).toEqual(['b']);
});

test('results that die with their worker are computed again', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  const doomed = site.worker('--nthreads', '1', '--no-nanny', '--name', 'doomed');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1, { timeoutMs: 20_000 });
  // Too large to travel inside messages: only the worker holds it.
  const big = client.submit(() => new Uint8Array(1_000_000).fill(7));
  await until('the result is there', () => big.done);
  site.worker('--nthreads', '1', '--no-nanny', '--name', 'heir');
  await client.waitForWorkers(2, { timeoutMs: 20_000 });
  doomed.child.kill('SIGKILL');
  await doomed.ended();
  const total = client.submit((bytes: Uint8Array) => bytes.reduce((a, b) => a + b, 0), big);
  expect(await total.result()).toBe(7_000_000);
  expect((await big.result()).byteLength).toBe(1_000_000);
});

test('a nanny brings a killed worker back, and work goes on', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '1', '--name', 'w');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1, { timeoutMs: 20_000 });
  const pid = async (): Promise<number> => (await client.schedulerInfo()).workers[0]?.pid ?? 0;
  const first = await pid();
  process.kill(first, 'SIGKILL');
  expect(await client.submit(() => 'again').result({ timeoutMs: 20_000 })).toBe('again');
  const second = await pid();
  expect(second).not.toBe(first);
  expect(isAlive(first)).toBe(false);
});

test('a task that kills its workers is blamed in the end', { timeout: 90_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '1', '--name', 'w');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1, { timeoutMs: 20_000 });
  const killer = client.submit(async () => {
    // Lives long enough for a heartbeat to name it as executing.
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    process.kill(process.pid, 'SIGKILL');
  });
  const innocent = client.submit(() => 'fine');
  const error = await killer.exception({ timeoutMs: 60_000 });
  expect(error).toMatchObject({ code: 'ERR_KILLED_WORKER' });
  expect(error).toHaveProperty(
    'message',
    expect.stringMatching(/(w on .* \(pid \d+\): .*signal SIGKILL, \d+ MiB of memory.*){4}/s),
  );
  expect(await innocent.result({ timeoutMs: 30_000 })).toBe('fine');
});

test('commands die with a worker that is killed', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  site.scheduler();
  const worker = site.worker('--nthreads', '1', '--no-nanny');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  const pidFile = join(site.directory, 'pid');
  const future = client.submit(command('sh', ['-c', 'echo $$ > "$0"; exec sleep 600', pidFile]));
  let pid = 0;
  await until('the command runs', async () => {
    pid = Number(await readFile(pidFile, 'utf8').catch(() => '0'));
    return pid > 0;
  });
  worker.child.kill('SIGKILL');
  await until('the command is gone', () => !isAlive(pid));
  expect(future.status).toBe('pending'); // for the next worker that comes
  future.release();
});

test(
  'a scheduler that is gone rejects what waits, with the reason',
  { timeout: 60_000 },
  async () => {
    await using site = await Site.open();
    const scheduler = site.scheduler();
    await using client = new Client({ schedulerFile: site.schedulerFile });
    const waiting = client.submit(() => 1);
    await client.schedulerInfo();
    scheduler.child.kill('SIGKILL');
    await expect(waiting.result()).rejects.toMatchObject({ code: 'ERR_CONNECTION_LOST' });
  },
);

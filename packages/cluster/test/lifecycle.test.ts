import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Client } from '@farm/client';
import { expect, test } from 'vitest';

import { Site, isAlive, until } from './processes.ts';

// Goal: processes start in any order, end when asked, and leave nothing behind.

test('the scheduler file is complete, private, and removed at the end', async () => {
  await using site = await Site.open();
  const scheduler = site.scheduler();
  await until('the file exists', () => existsSync(site.schedulerFile));
  const file = JSON.parse(await readFile(site.schedulerFile, 'utf8')) as Record<string, unknown>;
  expect(file).toMatchObject({ type: 'Scheduler', farm: { pid: scheduler.child.pid } });
  expect(file['address']).toMatch(/^tcp:\/\/127\.0\.0\.1:\d+$/);
  expect((await stat(site.schedulerFile)).mode & 0o777).toBe(0o600);
  scheduler.child.kill('SIGTERM');
  expect(await scheduler.ended()).toBe(0);
  expect(existsSync(site.schedulerFile)).toBe(false);
});

test('workers and client may come before the scheduler', async () => {
  await using site = await Site.open();
  const worker = site.worker('--nthreads', '1');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  const answer = client.submit(() => 42);
  await until('the worker says what it waits for', () => worker.log.includes(site.schedulerFile));
  site.scheduler();
  expect(await answer.result()).toBe(42);
});

test('close leaves the cluster up, shutdown ends every process', async () => {
  await using site = await Site.open();
  const scheduler = site.scheduler();
  const worker = site.worker('--nthreads', '1');
  const first = new Client({ schedulerFile: site.schedulerFile });
  await first.waitForWorkers(1);
  await first.close();
  const second = new Client({ schedulerFile: site.schedulerFile });
  expect((await second.schedulerInfo()).workers).toHaveLength(1);
  await second.shutdown();
  expect(await scheduler.ended()).toBe(0);
  expect(await worker.ended()).toBe(0);
  expect(existsSync(site.schedulerFile)).toBe(false);
});

test('an address alone is enough for the same user', async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '1');
  await until('the file exists', () => existsSync(site.schedulerFile));
  const { address } = JSON.parse(await readFile(site.schedulerFile, 'utf8')) as { address: string };
  const home = process.env['FARM_HOME'];
  process.env['FARM_HOME'] = join(site.directory, '.farm');
  try {
    await using client = new Client(address);
    expect(await client.submit(() => 1).result()).toBe(1);
  } finally {
    if (home === undefined) delete process.env['FARM_HOME'];
    else process.env['FARM_HOME'] = home;
  }
});

test('a worker without scheduler gives up at its death-timeout', async () => {
  await using site = await Site.open();
  const worker = site.worker('--death-timeout', '1');
  expect(await worker.ended()).toBe(1);
  expect(worker.log).toContain(site.schedulerFile);
});

test('what does not end within the drain timeout after SIGTERM runs elsewhere', async () => {
  await using site = await Site.open();
  site.scheduler();
  const drain = ['--drain-timeout', '500ms'];
  const leaver = site.worker('--nthreads', '1', '--name', 'leaver', ...drain);
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1);
  const gate = join(site.directory, 'gate');
  const slow = client.submit(async (path: string) => {
    const fs = await import('node:fs');
    while (!fs.existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 10));
    return 'done';
  }, gate);
  await until('it runs', async () => (await client.explain(slow)).state === 'processing');
  site.worker('--nthreads', '1', '--name', 'stayer');
  await client.waitForWorkers(2);
  const pid =
    (await client.schedulerInfo()).workers.find(({ name }) => name === 'leaver')?.pid ?? 0;
  leaver.child.kill('SIGTERM');
  expect(await leaver.ended()).toBe(0);
  expect(isAlive(pid)).toBe(false);
  await writeFile(gate, '');
  expect(await slow.result()).toBe('done');
  expect(slow.worker).toBe('stayer');
});

test('a second worker of the same name is refused, the first one unharmed', async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--nthreads', '1', '--name', 'twin', '--no-nanny');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1);
  const second = site.worker('--nthreads', '1', '--name', 'twin', '--no-nanny');
  expect(await second.ended()).not.toBe(0);
  expect(second.log).toContain('twin');
  expect(await client.submit(() => 1).result()).toBe(1);
});

test('a busy port is an error that names it, and no file is written', async () => {
  await using site = await Site.open();
  site.scheduler();
  await until('the file exists', () => existsSync(site.schedulerFile));
  const { address } = JSON.parse(await readFile(site.schedulerFile, 'utf8')) as { address: string };
  const port = address.split(':').at(-1) ?? '';
  const second = site.start('farm-scheduler', '--port', port, '--scheduler-file', 'other.json');
  expect(await second.ended()).toBe(1);
  expect(second.log).toContain(port);
  expect(existsSync(join(site.directory, 'other.json'))).toBe(false);
});

test('an idle scheduler ends at its idle-timeout', async () => {
  await using site = await Site.open();
  const scheduler = site.scheduler('--idle-timeout', '500ms');
  expect(await scheduler.ended()).toBe(0);
});

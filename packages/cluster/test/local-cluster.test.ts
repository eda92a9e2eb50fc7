import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Client } from '@farm/client';
import { LocalCluster } from '@farm/cluster';
import { expect, onTestFinished, test } from 'vitest';

import { isAlive, until } from './processes.ts';

test('a local cluster runs tasks, scales up and down, and ends', { timeout: 60_000 }, async () => {
  const cluster = await LocalCluster.start({
    workers: 1,
    threadsPerWorker: 1,
    dashboardAddress: null,
  });
  const client = new Client(cluster);
  expect(await client.submit((x: number) => x + 1, 41).result()).toBe(42);
  await cluster.scale(3);
  expect((await client.schedulerInfo()).workers).toHaveLength(3);
  await cluster.scale(1);
  await until('two are gone', async () => (await client.schedulerInfo()).workers.length === 1);
  const pids = (await client.schedulerInfo()).workers.map((worker) => worker.pid);
  await client.close();
  await cluster.close();
  for (const pid of pids) expect(isAlive(pid)).toBe(false);
  expect(existsSync(cluster.schedulerFile)).toBe(false);
});

test(
  'a client without target starts a cluster of its own and ends it',
  { timeout: 60_000 },
  async () => {
    const client = new Client();
    const pid = await client.submit(() => process.pid).result();
    expect(isAlive(pid)).toBe(true);
    await client.close();
    await until('the worker is gone', () => !isAlive(pid));
  },
);

test('nothing is left when the program is killed', { timeout: 60_000 }, async () => {
  const folder = await mkdtemp(join(tmpdir(), 'farm-killed-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const script = fileURLToPath(new URL('fixtures/hold-cluster.ts', import.meta.url));
  const child = spawn(process.execPath, ['--conditions=@farm/source', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, TMPDIR: folder },
  });
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string];
  const pids = JSON.parse(line) as number[];
  expect(pids.length).toBeGreaterThanOrEqual(2);
  expect(pids.every(isAlive)).toBe(true);
  const left = (): string[] =>
    readdirSync(folder).filter((name) => name.startsWith('farm-cluster-'));
  expect(left()).toHaveLength(1);
  child.kill('SIGKILL');
  await until('all are gone', () => !pids.some(isAlive));
  await until('their directory is gone', () => left().length === 0);
});

test('options that make no sense are refused by name', async () => {
  await expect(LocalCluster.start({ workers: -1 })).rejects.toThrow(/workers/);
  await expect(LocalCluster.start({ threadsPerWorker: 0.5 })).rejects.toThrow(/threadsPerWorker/);
});

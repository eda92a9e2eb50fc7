import { existsSync } from 'node:fs';
import { cp, mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { Client } from '@farm/client';
import { expect, test } from 'vitest';

import { until } from '../packages/cluster/test/processes.ts';
import { BatchSite } from './testing/batch-site.ts';
import { runScript } from './testing/run-script.ts';

// Goal: each batch script starts the processes it is to start, work runs on them, and all end. The
// commands of the batch system are stand-ins; the interface is loopback.

test('squares: a scheduler job and two jobs of workers', { timeout: 60_000 }, async () => {
  await using site = await BatchSite.open();
  const { directory, env, schedulerFile } = site;
  const jobs = [
    site.run('squares/scheduler.slurm'),
    site.run('squares/workers.slurm', [], { env: { SLURM_JOB_NUM_NODES: '2' } }),
    site.run('squares/workers.slurm', [], { env: { SLURM_JOB_NUM_NODES: '2' } }),
  ];
  await using client = new Client({ schedulerFile });
  await client.waitForWorkers(4, { timeoutMs: 20_000 });
  expect(String(client)).toContain('processes=4 threads=16, memory=0 B');
  const run = await runScript('squares/squares.ts', [schedulerFile], { cwd: directory, env });
  expect(run.stdout).toContain('Result: [0, 1, 4, 9, 16, ');
  expect(run.exitCode).toBe(0);
  await client.shutdown();
  for (const job of jobs) expect((await job).exitCode).toBe(0);
  await site.ended();
});

/** As a user has it: a copy of the directory, where the script is submitted. */
async function copyFarm(site: BatchSite): Promise<string> {
  const farm = join(site.directory, 'task-farm');
  await cp(fileURLToPath(new URL('task-farm', import.meta.url)), farm, { recursive: true });
  await linkPackages(site.directory);
  return farm;
}

test('task farm: one script runs all of it and ends all of it', { timeout: 60_000 }, async () => {
  await using site = await BatchSite.open();
  const run = await site.run('task-farm/scheduler.slurm', ['--tasks', '40'], {
    cwd: await copyFarm(site),
    env: { NUM_WORKERS: '2', SLURM_JOB_ID: '17', EXPERIMENT: join(site.directory, 'out') },
  });
  expect(run.stdout.match(/Submitted batch job \d+/g)).toHaveLength(2);
  expect(run.stdout).toContain('40 tasks succeeded, 0 failed');
  expect(run.exitCode).toBe(0);
  expect(await readdir(join(site.directory, 'out', 'results'))).toHaveLength(40);
  await site.ended();
  expect(existsSync(site.schedulerFile)).toBe(false);
});

test('task farm: the job fails where its program does', { timeout: 60_000 }, async () => {
  await using site = await BatchSite.open();
  const cwd = await copyFarm(site);
  const env = { NUM_WORKERS: '1', SLURM_JOB_ID: '18', EXPERIMENT: join(site.directory, 'out') };
  const run = await site.run('task-farm/scheduler.slurm', ['--tasks', 'none'], { cwd, env });
  expect(run.exitCode).toBe(2);
  await site.ended();
});

test('pi: every rank a worker, rank 0 the scheduler too', { timeout: 60_000 }, async () => {
  await using site = await BatchSite.open();
  const home = join(site.directory, 'home');
  await mkdir(home);
  const env = {
    LOCAL_DIRECTORY: home,
    WORKER_DIRECTORY: join(site.directory, 'workers'),
    CORES_PER_NODE: '12',
    MEMORY_PER_NODE_GB: '8',
    FARM_SCHEDULER_PORT: '0',
    FARM_DASHBOARD_PORT: '0',
    HOSTNAME: 'node-1',
  };
  const start = fileURLToPath(new URL('pi/start.sh', import.meta.url));
  const mpiexec = fileURLToPath(new URL('testing/stand-ins/mpiexec', import.meta.url));
  const launch = await launcher(site, `"${mpiexec}" -n 4 --ppn 4 bash "${start}" gpu 4`);
  const ranks = site.run(launch, [], { env });
  const schedulerFile = join(home, 'scheduler.json');
  await until('the file exists', () => existsSync(schedulerFile));
  await using client = new Client({ schedulerFile });
  await client.waitForWorkers(4, { timeoutMs: 20_000 });
  expect(String(client)).toContain('processes=4 threads=12, memory=7.45 GiB');
  const masks = client
    .with({ resources: { GPU: 1 } })
    .map((index: number) => `${index} ${process.env['ZE_AFFINITY_MASK']}`, [0, 1, 2, 3]);
  for (const [index, seen] of (await client.gather(masks)).entries()) {
    expect(seen).toMatch(new RegExp(`^${index} [0-3]$`));
  }

  const run = await runScript('pi/pi.ts', [schedulerFile, '40001', '4'], {
    cwd: site.directory,
    env: site.env,
  });
  expect(run).toMatchObject({ exitCode: 0, stderr: '' });
  expect(run.stdout.match(/Workers: 4$/gm)).toHaveLength(5);
  expect((await ranks).exitCode).toBe(0);
  await site.ended();
  const log = await readFile(join(home, 'logs', 'node-1-worker.log'), 'utf8');
  expect(log.match(/ connected to tcp:/g)).toHaveLength(4);
});

test('connect: a cluster job, grown by a job of workers', { timeout: 60_000 }, async () => {
  await using site = await BatchSite.open();
  const { directory, env } = site;
  const schedulerFile = join(directory, 'my-scheduler.json');
  const jobs = [site.run('connect/cluster.lsf', [], { env: { FARM_DIRECTORY: directory } })];
  await using client = new Client({ schedulerFile });
  await client.waitForWorkers(4, { timeoutMs: 20_000 });
  jobs.push(site.run('connect/workers.lsf', [], { env: { FARM_DIRECTORY: directory } }));
  await client.waitForWorkers(6, { timeoutMs: 20_000 });
  const run = await runScript('connect/connect.ts', [schedulerFile], { cwd: directory, env });
  expect(run.stdout).toMatch(/processes=6 threads=252, memory=[\d.]+ .iB>\nDone!\n$/);
  expect(await client.submit(() => 6 * 7).result()).toBe(42);
  await client.shutdown();
  for (const job of jobs) expect((await job).exitCode).toBe(0);
  await site.ended();
});

/** Makes `@farm/*` found from a directory, as in a project that has them installed. */
async function linkPackages(directory: string): Promise<void> {
  const modules = fileURLToPath(new URL('../node_modules', import.meta.url));
  await symlink(modules, join(directory, 'node_modules'));
}

/** Writes a line of shell as a script of the site. */
async function launcher(site: BatchSite, line: string): Promise<string> {
  const path = join(site.directory, 'launch.sh');
  await writeFile(path, `${line}\n`);
  return path;
}

import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';

import { Client } from '@farm/client';
import { expect, test } from 'vitest';

import { isAlive, Site, until } from '../../packages/cluster/test/processes.ts';
import { runScript } from '../testing/run-script.ts';

const TASKS = 600;
/** Random, so that to compress it takes a while: a kill meets an archive that is being made. */
const BALLAST_BYTES = 10_000_000;

test(
  'outputs are archived again and again and copied at the end, though the worker is killed',
  { timeout: 120_000 },
  async () => {
    await using site = await Site.open();
    const [outputs, target] = [join(site.directory, 'outputs'), join(site.directory, 'results')];
    await mkdir(outputs);
    await writeFile(join(outputs, 'ballast'), randomBytes(BALLAST_BYTES));
    const scheduler = site.scheduler();
    const worker = site.worker('--name', 'node-1', '--nthreads', '2');
    await until('the scheduler is there', () => existsSync(site.schedulerFile));

    const args = ['scheduler.json', outputs, target, String(TASKS)];
    const env = { ARCHIVE_EVERY_MS: '100' };
    const running = runScript('plugins/run.ts', args, { cwd: site.directory, env });

    const archive = join(target, 'node-1_archive.tar.gz');
    await until('there is an archive', () => existsSync(archive), 60_000);
    const unfinished = (): string[] =>
      readdirSync(target).filter((name) => /^\.node-1_archive\.tar\.gz\.\d+\.tmp$/.test(name));
    await until('another one is being made', () => unfinished().length > 0, 60_000);
    const pid = await workerPid(site.schedulerFile);
    process.kill(pid, 'SIGKILL');
    await until('the worker is gone', () => !isAlive(pid));
    // What is there is whole, whatever was being made.
    const members = membersOf(archive);
    expect(members).toContain('./ballast');
    expect(members.length).toBeLessThan(TASKS);
    expect(gunzipSync(readFileSync(archive)).byteLength).toBeGreaterThan(BALLAST_BYTES);

    // The next worker sets the plugins up again, and what was lost is run again.
    expect(await running).toMatchObject({ exitCode: 0, stdout: `${TASKS} tasks are done\n` });
    expect(await workerPid(site.schedulerFile)).not.toBe(pid);

    worker.child.kill('SIGTERM');
    expect(await worker.ended(60_000)).toBe(0);
    const names = Array.from({ length: TASKS }, (_, task) => `output-${task}.txt`);
    expect(membersOf(archive)).toEqual(
      ['./', './ballast', ...names.map((name) => `./${name}`)].toSorted(),
    );
    expect(unfinished()).toEqual([]);
    const copied = readdirSync(join(target, 'copied'));
    expect(copied.toSorted()).toEqual(['ballast', ...names].toSorted());
    const last = join(target, 'copied', `output-${TASKS - 1}.txt`);
    expect(readFileSync(last, 'utf8')).toBe(`result of task ${TASKS - 1}\n`);
    scheduler.child.kill('SIGTERM');
    expect(await scheduler.ended()).toBe(0);
  },
);

/** What the system's tar finds; it fails where the archive is torn. */
function membersOf(archive: string): string[] {
  return execFileSync('tar', ['-tzf', archive], { encoding: 'utf8' }).trim().split('\n').toSorted();
}

async function workerPid(schedulerFile: string): Promise<number> {
  await using client = new Client({ schedulerFile });
  return await client.submit(() => process.pid).result();
}

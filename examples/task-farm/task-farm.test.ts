import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { expect, test } from 'vitest';

import { Site, until } from '../../packages/cluster/test/processes.ts';
import { BatchSite } from '../testing/batch-site.ts';
import { runScript } from '../testing/run-script.ts';

const CASE = fileURLToPath(new URL('case/', import.meta.url));

// Goal: what a user does with the farm ends with every output in its place and every failure kept.

test('a farm on a local cluster', { timeout: 60_000 }, async () => {
  // A batch site for its way to find processes: it has no part in the farm.
  await using site = await BatchSite.open();
  const { directory, env } = site;
  const alphas = Array.from({ length: 20 }, (_, index) =>
    (index % 7 === 6 ? 0.9 : 0.02 * (index + 1)).toFixed(3),
  );
  await writeFile(join(directory, 'alphas.txt'), alphas.map((alpha) => `${alpha}\n`).join(''));
  const flags = ['--tasks', '40', '--params', 'alphas.txt', '--experiment', 'out'];
  const run = await runScript('task-farm/run.ts', flags, { cwd: directory, env });

  expect(run.exitCode).toBe(0);
  expect(run.stderr).toContain('100 % · 40 of 40 tasks, 4 failed\n');
  expect(run.stdout).toMatch(/^36 tasks succeeded, 4 failed, in \d+\.\d\d s \(\d+ tasks\/s\)$/m);
  const perWorker = [...run.stdout.matchAll(/^ {2}on local-\d+: (\d+) tasks, [\d.]+ ms each$/gm)];
  expect(perWorker.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(40);

  const failed = [7, 14, 27, 34];
  const out = join(directory, 'out');
  expect((await readdir(out)).toSorted()).toEqual([...failed.map(String), 'results'].toSorted());
  for (const task of failed) {
    expect(run.stdout).toContain(
      `task ${task} failed (exit code 3); its directory is kept: ${join(out, String(task))}\n`,
    );
    expect((await readdir(join(out, String(task)))).toSorted()).toEqual([
      'err.log',
      'heat.awk',
      'out.log',
      'rod.txt',
    ]);
    expect(await readFile(join(out, String(task), 'err.log'), 'utf8')).toContain(
      'unstable: alpha = 0.9',
    );
    expect(await readFile(join(out, String(task), 'out.log'), 'utf8')).toMatch(/^running awk /);
  }
  const good = Array.from({ length: 40 }, (_, index) => index + 1).filter(
    (task) => !failed.includes(task),
  );
  expect((await readdir(join(out, 'results'))).toSorted()).toEqual(
    good.map((task) => `${task}.txt`).toSorted(),
  );
  for (const task of good) {
    const result = await readFile(join(out, 'results', `${task}.txt`), 'utf8');
    expect(result).toBe(await solve(alphas[(task - 1) % 20] ?? ''));
  }
  await site.ended();
});

test(
  'parameter files of every shape, on a cluster that is running',
  { timeout: 60_000 },
  async () => {
    await using site = await Site.open();
    site.scheduler();
    site.worker('--nthreads', '2');
    await until('the file exists', () => existsSync(site.schedulerFile));
    const shapes = [
      { name: 'empty', text: '', tasks: 0 },
      { name: 'one', text: '0.1\n', tasks: 1 },
      { name: 'crlf', text: '0.1\r\n0.2\r\n0.3\r\n', tasks: 3 },
      { name: 'unended', text: '0.1\n0.2', tasks: 2 },
      { name: 'blank', text: '\n0.1\n\n', tasks: 1 },
    ];
    for (const { name, text, tasks } of shapes) {
      await writeFile(join(site.directory, `${name}.txt`), text);
      const flags = [
        '--scheduler-file',
        'scheduler.json',
        '--params',
        `${name}.txt`,
        '--experiment',
        name,
      ];
      const run = await runScript('task-farm/run.ts', flags, { cwd: site.directory });
      const results = await readdir(join(site.directory, name, 'results'));
      const left = await readdir(join(site.directory, name));
      expect({ name, exitCode: run.exitCode, results, left }).toEqual({
        name,
        exitCode: 0,
        results: Array.from({ length: tasks }, (_, index) => `${index + 1}.txt`),
        left: ['results'],
      });
      expect(run.stdout).toContain(`${tasks} tasks succeeded, 0 failed`);
      if (tasks > 1) {
        const second = await readFile(join(site.directory, name, 'results', '2.txt'), 'utf8');
        expect(second).toBe(await solve('0.2'));
      }
    }
  },
);

test('Ctrl-C ends a farm with all its processes', { timeout: 60_000 }, async () => {
  await using site = await BatchSite.open();
  const { directory, env } = site;
  let pid = 0;
  const run = await runScript('task-farm/run.ts', ['--tasks', '5000', '--experiment', 'out'], {
    cwd: directory,
    env,
    onStart: (id) => (pid = id),
    onStdout: (stdout) => {
      if (stdout.includes('<Client:')) process.kill(pid, 'SIGINT');
    },
  });
  expect(run.exitCode).toBe(130);
  expect(run.stderr.trimEnd()).toMatch(
    /\ninterrupted: closing the cluster; what is there stays in out$/,
  );
  expect(run.stdout).not.toContain('failed');
  await site.ended();
});

test('wrong flags are named', async () => {
  const cwd = tmpdir();
  const count = await runScript('task-farm/run.ts', ['--tasks', 'many'], { cwd });
  expect(count).toMatchObject({ exitCode: 2, stdout: '' });
  expect(count.stderr).toContain('--tasks must be a whole number, not many\nusage: ');
  const unknown = await runScript('task-farm/run.ts', ['--task', '1'], { cwd });
  expect(unknown.exitCode).toBe(2);
  expect(unknown.stderr).toContain("'--task'");
});

/** What the solver of the case gives, run directly. */
async function solve(alpha: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'farm-solve-'));
  try {
    const argv = ['-v', `alpha=${alpha}`, '-f', join(CASE, 'heat.awk'), join(CASE, 'rod.txt')];
    await promisify(execFile)('awk', argv, {
      cwd: directory,
      env: { ...process.env, LC_ALL: 'C' },
    });
    return await readFile(join(directory, 'result.txt'), 'utf8');
  } finally {
    await rm(directory, { recursive: true });
  }
}

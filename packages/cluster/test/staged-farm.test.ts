import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { arg, asCompleted, Client, command, CommandError, text } from '@farm/client';
import { readOutput } from '@farm/worker';
import { expect, test } from 'vitest';

import { Site } from './processes.ts';

// Goal: a farm of programs leaves its results, once each, and what failed to look at; nothing else.

/** Tasks of the farm; set the variable for a long run. */
const TASKS = Number(process.env['FARM_STAGED_TASKS'] ?? 210);
const FAR_TOO_LONG_MS = 60_000 + TASKS * 100;

test('a staged farm with one failure in seven', { timeout: FAR_TOO_LONG_MS }, async () => {
  await using site = await Site.open();
  const at = (...path: string[]): string => join(site.directory, ...path);
  mkdirSync(at('common'));
  writeFileSync(at('common', 'wrapper.sh'), '#!/bin/sh\nexec "$@"\n', { mode: 0o755 });
  writeFileSync(at('common', 'table'), 'of everybody\n');
  const work =
    'echo "working on $1"; cat input table > result.dat; [ $(($1 % 7)) -ne 3 ] || ' +
    '{ echo "no mesh" >&2; exit 3; }';
  const solve = command('./wrapper.sh', ['sh', '-c', work, 'sh', arg(0)], {
    name: 'solve',
    stdout: 'out.log',
    stderr: 'err.log',
    stage: {
      in: ['common/wrapper.sh', 'common/table', { from: text`inputs/${arg(1)}`, to: 'input' }],
      out: [{ from: 'result.dat', to: text`results/${arg(0)}-{stem}{ext}` }],
    },
  });
  mkdirSync(at('inputs'));
  for (let index = 0; index < 100; index++) {
    writeFileSync(at('inputs', String(index)), `input ${index}\n`);
  }
  site.scheduler();
  const worker = site.worker('--nthreads', '2', '--no-nanny', '--local-directory', at('local'));
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1, { timeoutMs: 20_000 });
  const numbers = Array.from({ length: TASKS }, (_, index) => index);
  const failing = numbers.filter((number) => number % 7 === 3);
  const failed: string[] = [];
  let taken = 0;
  const futures = client.map(
    solve,
    numbers,
    numbers.map((number) => number % 100),
  );
  for await (const future of asCompleted(futures)) {
    try {
      taken += (await future.result()).outputs?.length ?? 0;
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      expect(error.exitCode).toBe(3);
      failed.push(/its directory is kept: [^:]*:(.*)$/.exec(error.message)?.[1] ?? error.message);
    }
  }
  expect(taken).toBe(TASKS - failing.length);
  expect(failed).toHaveLength(failing.length);

  const good = numbers.filter((number) => number % 7 !== 3);
  const results = readdirSync(at('results'));
  expect(results.toSorted()).toEqual(good.map((number) => `${number}-result.dat`).toSorted());
  for (const number of good) {
    const made = readFileSync(at('results', `${number}-result.dat`), 'utf8');
    expect(made).toBe(`input ${number % 100}\nof everybody\n`);
  }
  const kept = readdirSync(at('local', 'kept-tasks')).map((name) =>
    at('local', 'kept-tasks', name),
  );
  expect(kept.toSorted()).toEqual(failed.toSorted());
  const logs = kept.map((path) => {
    expect(readFileSync(join(path, 'err.log'), 'utf8')).toBe('no mesh\n');
    expect(statSync(join(path, 'wrapper.sh')).mode & 0o777).toBe(0o755);
    return readFileSync(join(path, 'out.log'), 'utf8');
  });
  expect(logs.toSorted()).toEqual(failing.map((number) => `working on ${number}\n`).toSorted());
  // Of what went well nothing is left; of the worker nothing when it has ended.
  const own = readdirSync(at('local')).find((name) => name.startsWith('farm-worker-')) ?? '';
  expect(readdirSync(at('local', own, 'tasks'))).toEqual([]);
  worker.child.kill('SIGTERM');
  expect(await worker.ended()).toBe(0);
  expect(readdirSync(at('local'))).toEqual(['kept-tasks']);
  expect(readdirSync(at('local', 'kept-tasks'))).toHaveLength(failing.length);
});

test('flags of a worker are around its commands', { timeout: 60_000 }, async () => {
  await using site = await Site.open();
  const container = join(site.directory, 'container.sh');
  writeFileSync(container, '#!/bin/sh\necho "in $1"\nshift\nexec "$@"\n', { mode: 0o755 });
  writeFileSync(join(site.directory, 'setup.sh'), 'export LICENSE=site-1\n');
  site.scheduler();
  const around = ['--command-prefix', ` ${container}  sim.sif `, '--site-setup', 'setup.sh'];
  site.worker('--nthreads', '1', '--output-directory', 'outputs', ...around);
  await using client = new Client({ schedulerFile: site.schedulerFile });
  const licence = command('sh', ['-c', 'echo "$LICENSE $0"', arg(0)]);
  const { stdout } = await client.submit(licence, 'a  b').result();
  expect(stdout).toBe('in sim.sif\nsite-1 a  b\n');

  const loud = command('sh', ['-c', 'echo "$0"', arg(0)], { stdout: 'stream' });
  await client.gather(client.map(loud, ['x', 'y', 'z']));
  const files = readdirSync(join(site.directory, 'outputs'));
  expect(files).toHaveLength(1);
  const texts = new Map<string, string>();
  for await (const { key, bytes } of readOutput(join(site.directory, 'outputs', files[0] ?? ''))) {
    texts.set(key, (texts.get(key) ?? '') + Buffer.from(bytes).toString());
  }
  expect([...texts.values()].toSorted()).toEqual(
    ['x', 'y', 'z'].map((name) => `in sim.sif\n${name}\n`),
  );
  const bin = fileURLToPath(new URL('../../worker/bin/farm-output.js', import.meta.url));
  const listed = spawnSync(process.execPath, [bin, 'outputs'], {
    cwd: site.directory,
    encoding: 'utf8',
  });
  expect(listed.stdout.trim().split('\n')).toHaveLength(4);
  expect({ status: listed.status, stderr: listed.stderr }).toEqual({ status: 0, stderr: '' });
});

test('a worker whose setup script fails says why and ends', { timeout: 30_000 }, async () => {
  await using site = await Site.open();
  writeFileSync(join(site.directory, 'setup.sh'), 'echo "no such module" >&2\nexit 4\n');
  const worker = site.worker('--no-nanny', '--site-setup', 'setup.sh');
  expect(await worker.ended()).toBe(1);
  expect(worker.log).toContain('setup.sh failed: no such module');
});

import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { aFunction, FakeScheduler, runsOf, until } from './fake-scheduler.ts';

const BIN = fileURLToPath(new URL('../../bin/farm-worker.js', import.meta.url));

let directory: string;
let scheduler: FakeScheduler;
let schedulerFile: string;
const running: Running[] = [];

interface Running {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly exitCode: Promise<number | null>;
  stderr: string;
  stdout: string;
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'farm-worker-cli-'));
  scheduler = await FakeScheduler.listen();
  schedulerFile = join(directory, 'scheduler.json');
});

afterEach(async () => {
  for (const { child } of running.splice(0)) child.kill('SIGKILL');
  await scheduler.close();
  await rm(directory, { recursive: true, force: true });
});

function farmWorker(...args: readonly string[]): Running {
  const isTold = args.includes('--local-directory');
  const local = isTold ? [] : ['--local-directory', join(directory, 'local')];
  const child = spawn(process.execPath, [BIN, ...args, ...local], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: directory,
  });
  const state: Running = {
    child,
    exitCode: once(child, 'exit').then(([code]: readonly (number | null)[]) => code ?? null),
    stderr: '',
    stdout: '',
  };
  child.stderr.setEncoding('utf8').on('data', (text: string) => (state.stderr += text));
  child.stdout.setEncoding('utf8').on('data', (text: string) => (state.stdout += text));
  running.push(state);
  return state;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

test('a usage error is one line and exit code 2', async () => {
  const worker = farmWorker('---interface', 'ib0');
  expect(await worker.exitCode).toBe(2);
  expect(worker.stderr).toBe(
    'farm-worker: unknown option ---interface, did you mean --interface?\n',
  );
});

test.each([['--nanny'], ['--no-nanny']])(
  'with %s a local directory that cannot be is one line and exit code 2',
  async (flag) => {
    await writeFile(join(directory, 'file'), '');
    const path = join(directory, 'file', 'local');
    const worker = farmWorker('tcp://127.0.0.1:1', '--local-directory', path, flag);
    expect(await worker.exitCode).toBe(2);
    expect(worker.stderr).toBe(
      `farm-worker: --local-directory ${path} cannot be used: ` +
        `ENOTDIR: not a directory, mkdir '${path}'\n`,
    );
  },
);

test('started before the scheduler it waits, joins, works, and ends well on SIGTERM', async () => {
  const worker = farmWorker(
    '--scheduler-file',
    'scheduler.json',
    '--nthreads',
    '1',
    '--name',
    'w-1',
  );
  await until('it says what it waits for', () =>
    worker.stderr.includes(`waiting for a scheduler to write ${schedulerFile}`) ? true : undefined,
  );
  await scheduler.writeFile(schedulerFile);
  const joined = await scheduler.joined();
  expect(joined.hello).toMatchObject({ name: 'w-1', nthreads: 1, nanny: true });
  await until('the ready line', () =>
    worker.stderr.includes(`worker w-1 connected to ${scheduler.address}`) ? true : undefined,
  );
  joined.send(aFunction(1, '() => { console.log("from the task"); return 1; }'));
  joined.send(runsOf(1, 1, [[]]));
  await joined.take('finished');
  worker.child.kill('SIGTERM');
  expect((await joined.take('draining')).reason).toBe('the nanny received SIGTERM');
  joined.send({ op: 'close-worker', reason: 'it was retired' });
  expect((await joined.take('leaving')).reason).toBe('the nanny received SIGTERM');
  expect(await worker.exitCode).toBe(0);
  expect(worker.stdout).toBe('from the task\n');
  expect(isAlive(joined.hello.pid)).toBe(false);
  expect(await readdir(join(directory, 'local'))).toEqual([]);
});

test('a worker process that is killed comes back under a new process', async () => {
  await scheduler.writeFile(schedulerFile);
  const worker = farmWorker('--scheduler-file', schedulerFile, '--nthreads', '1');
  const first = await scheduler.joined();
  process.kill(first.hello.pid, 'SIGKILL');
  const second = await scheduler.joined();
  expect(second.hello.pid).not.toBe(first.hello.pid);
  expect(second.hello.name).not.toBe(first.hello.name);
  expect(worker.stderr).toContain('died with signal SIGKILL');
  // What the dead one left behind is gone too.
  expect(await readdir(join(directory, 'local'))).toHaveLength(1);
});

test('when the nanny is killed its worker ends', async () => {
  await scheduler.writeFile(schedulerFile);
  const worker = farmWorker('--scheduler-file', schedulerFile, '--nthreads', '1');
  const { hello } = await scheduler.joined();
  worker.child.kill('SIGKILL');
  // Its last words went to the nanny, which passes on the log of its worker.
  await until('the worker is gone', () => (isAlive(hello.pid) ? undefined : true));
  expect(await worker.exitCode).not.toBe(0);
});

test('several workers under one command have numbered names, and all end with it', async () => {
  await scheduler.writeFile(schedulerFile);
  const args = ['--nworkers', '2', '--nthreads', '1', '--name', 'w'];
  const worker = farmWorker('--scheduler-file', schedulerFile, ...args);
  const joined = [await scheduler.joined(), await scheduler.joined()];
  expect(joined.map(({ hello }) => hello.name).toSorted()).toEqual(['w-0', 'w-1']);
  for (const one of joined) one.send({ op: 'close-worker', reason: 'shutdown' });
  expect(await worker.exitCode).toBe(0);
});

test.each([['--nanny'], ['--no-nanny']])(
  'with %s it exits with 1 at its death timeout, naming the file it waited for',
  async (flag) => {
    const worker = farmWorker('--scheduler-file', 'never.json', '--death-timeout', '500ms', flag);
    expect(await worker.exitCode).toBe(1);
    expect(worker.stderr).toContain('--death-timeout');
    expect(worker.stderr).toContain(join(directory, 'never.json'));
  },
);

test('without a nanny it is one process', async () => {
  await scheduler.writeFile(schedulerFile);
  const worker = farmWorker('--scheduler-file', schedulerFile, '--no-nanny', '--nthreads', '1');
  const { hello } = await scheduler.joined();
  expect(hello).toMatchObject({ pid: worker.child.pid, nanny: false });
  worker.child.kill('SIGINT');
  expect(await worker.exitCode).toBe(0);
});

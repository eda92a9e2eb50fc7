import { existsSync, readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { Client, command } from '@farm/client';
import { expect, test } from 'vitest';

import { Site, isAlive, treeOf, until } from './processes.ts';
import type { Program } from './processes.ts';

// Goal: no process outlives the one it belongs to, and all of them may stand still together.

const isLinux = process.platform === 'linux';

interface FullWorker extends AsyncDisposable {
  readonly nanny: Program;
  readonly pid: number;
}

/**
 * A worker with everything that may run in it: threads, processes, commands with children. They run
 * for as long as it is not disposed of: its client wants them.
 */
async function fullWorker(site: Site): Promise<FullWorker> {
  site.scheduler();
  const directory = join(site.directory, 'local');
  const flags = ['--nthreads', '4', '--name', 'full', '--local-directory', directory];
  const nanny = site.worker(...flags);
  const client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1, { timeoutMs: 20_000 });
  const spin = (file: string): void => {
    process.getBuiltinModule('node:fs').writeFileSync(file, '');
    for (;;);
  };
  const files = ['thread', 'process', 'command', 'daemon'].map((name) =>
    join(site.directory, name),
  );
  const [thread = '', inProcess = '', plain = '', daemon = ''] = files;
  const running = [
    client.submit(spin, thread),
    client.with({ executor: 'processes' }).submit(spin, inProcess),
    client.submit(command('sh', ['-c', 'sleep 600 & echo $! > "$0"; wait', plain])),
    client.submit(
      command('sh', ['-c', 'trap "" TERM; echo $$ > "$0"; while :; do :; done', daemon]),
    ),
  ];
  await until('all of them run', () => files.every(existsSync), 30_000);
  const pid = (await client.schedulerInfo()).workers[0]?.pid ?? 0;
  for (const future of running) future.result().catch(() => {});
  return { nanny, pid, [Symbol.asyncDispose]: async () => client.close() };
}

test.runIf(isLinux)(
  'kill -9 of the nanny ends all that belongs to it',
  { timeout: 90_000 },
  async () => {
    await using site = await Site.open();
    await using full = await fullWorker(site);
    const { nanny, pid } = full;
    const tree = treeOf(nanny.child.pid ?? 0);
    expect(tree).toContain(pid);
    // The thread is in the worker; a process, two commands, a child of one, and who started them.
    expect(tree.length).toBeGreaterThan(6);
    nanny.child.kill('SIGKILL');
    await until('all are gone', () => !tree.some(isAlive), 30_000);
  },
);

test.runIf(isLinux)(
  'kill -9 of the worker ends all that belongs to it, and its directory goes',
  { timeout: 90_000 },
  async () => {
    await using site = await Site.open();
    await using full = await fullWorker(site);
    const { nanny, pid } = full;
    const tree = treeOf(pid);
    expect(tree.length).toBeGreaterThan(5);
    const local = join(site.directory, 'local');
    const own = readdirSync(local).find((name) => name.includes(`-${pid}.`)) ?? '';
    expect(own).not.toBe('');
    process.kill(pid, 'SIGKILL');
    await until('all are gone', () => !tree.some(isAlive), 30_000);
    await until('another has begun', () => {
      return readdirSync(local).some((name) => name.startsWith('farm-worker-') && name !== own);
    });
    expect(existsSync(join(local, own))).toBe(false);
    expect(nanny.child.exitCode).toBeNull();
  },
);

test.runIf(isLinux)(
  'SIGTSTP and SIGSTOP of everything, for longer than any timeout, and SIGCONT: nothing is lost',
  { timeout: 90_000 },
  async () => {
    await using site = await Site.open();
    const scheduler = site.scheduler('--heartbeat-timeout', '1s', '--lease', '1s');
    const flags = ['--nthreads', '4', '--name', 'w', '--heartbeat-timeout', '1s'];
    const nanny = site.worker(...flags, '--drain-timeout', '2s');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const { pid } = (await client.schedulerInfo()).workers[0] ?? { pid: 0 };
    const [log, gate] = [join(site.directory, 'log'), join(site.directory, 'gate')];
    // Without programs of its own, which come and go.
    const wait = 'echo command >> "$0"; while [ ! -e "$1" ]; do :; done; echo done';
    const inThread = async (file: string, until: string): Promise<string> => {
      const fs = await import('node:fs');
      fs.appendFileSync(file, 'function\n');
      while (!fs.existsSync(until)) await new Promise((resolve) => setTimeout(resolve, 10));
      return 'done';
    };
    const once = client.with({ rerunOnLoss: false });
    const program = once.submit(command('sh', ['-c', wait, log, gate]));
    const running = [
      once.submit(inThread, log, gate),
      once.with({ executor: 'processes' }).submit(inThread, log, gate),
    ];
    await until('all run', async () => {
      return existsSync(log) && (await readFile(log, 'utf8')).trim().split('\n').length === 3;
    });
    const all = [...treeOf(scheduler.child.pid ?? 0), ...treeOf(nanny.child.pid ?? 0)];
    for (const signal of ['SIGTSTP', 'SIGSTOP', 'SIGCONT'] as const) {
      for (const one of all) if (isAlive(one)) process.kill(one, signal);
      // Longer than a connection may be silent, and a lease.
      if (signal !== 'SIGCONT') await delay(2_500);
    }
    await client.submit(() => 1).result();
    process.getBuiltinModule('node:fs').writeFileSync(gate, '');
    expect(await client.gather(running)).toEqual(['done', 'done']);
    expect((await program.result()).stdout).toBe('done\n');
    expect((await readFile(log, 'utf8')).trim().split('\n')).toHaveLength(3);
    expect((await client.schedulerInfo()).workers).toMatchObject([{ name: 'w', pid }]);
  },
);

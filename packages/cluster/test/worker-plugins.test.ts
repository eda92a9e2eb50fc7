/** Goal: plugins of real workers and nannies are set up before tasks, and torn down at every orderly end. */
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import { Client, command, environmentPlugin, npmInstallPlugin, workerPlugin } from '@farm/client';
import { expect, test } from 'vitest';

import { Site, until } from './processes.ts';

const NOTING = `
import { appendFileSync } from 'node:fs';
export default class Noting {
  constructor(file = '', what = '') {
    this.note = (text) => appendFileSync(file, what + text + '\\n');
  }
  setup(worker) { this.note('setup ' + worker.name + ' ' + worker.nthreads); }
  teardown(worker) { this.note('teardown ' + worker.name + (worker.address === null ? '' : ' connected')); }
  transition(key, from, to) { this.note(key + ' ' + from + ' ' + to); }
}
`;

async function lines(path: string): Promise<string[]> {
  return (await readFile(path, 'utf8')).trim().split('\n');
}

test('plugins of --preload and --preload-nanny are there before tasks, and end with the worker', async () => {
  await using site = await Site.open();
  await writeFile(join(site.directory, 'noting.mjs'), NOTING);
  const nannys = `export default (value) => ({
    setup: (nanny) => nanny.setEnvironment({ FROM_NANNY: value }),
    teardown: (nanny) => nanny.log('gone: ' + nanny.name),
  });`;
  await writeFile(join(site.directory, 'nannys.mjs'), nannys);
  site.scheduler();
  const own = ['--preload', './noting.mjs', '--preload-argv', 'seen', '--preload-argv=> '];
  const above = ['--preload-nanny', './nannys.mjs', '--preload-nanny-argv', 'hello'];
  const worker = site.worker('--name', 'w', '--nthreads', '1', ...own, ...above);
  {
    await using client = new Client({ schedulerFile: site.schedulerFile });
    const told = (x: number): string => `${x} ${process.env['FROM_NANNY']}`;
    expect(await client.with({ key: 'told' }).submit(told, 1).result()).toBe('1 hello');
    const fail = (): never => {
      throw new Error('no');
    };
    await expect(client.with({ key: 'failing' }).submit(fail).result()).rejects.toThrow('no');
    worker.child.kill('SIGTERM');
    expect(await worker.ended()).toBe(0);
  }
  expect(await lines(join(site.directory, 'seen'))).toEqual([
    '> setup w 1',
    '> told ready executing',
    '> told executing memory',
    '> failing ready executing',
    '> failing executing erred',
    '> teardown w connected',
  ]);
  expect(worker.log).toContain('gone: w');
});

test('a worker whose plugin cannot be set up runs nothing, and says why', async () => {
  await using site = await Site.open();
  const broken = "export default { setup() { throw new Error('no licence'); } };";
  await writeFile(join(site.directory, 'broken.mjs'), broken);
  site.scheduler();
  const worker = site.worker('--name', 'w', '--preload', './broken.mjs');
  expect(await worker.ended()).toBe(1);
  await until('it says why', () =>
    worker.log.includes('plugin ./broken.mjs could not be set up: Error: no licence'),
  );
  const other = site.worker('--preload-nanny', './broken.mjs');
  expect(await other.ended()).toBe(1);
  await until('the nanny says why', () =>
    other.log.includes('could not be set up: Error: no licence'),
  );
});

test('a plugin of a client is on all workers, also on those that come later', async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--name', 'a', '--nthreads', '1');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1);
  const file = join(site.directory, 'notes');
  const noting = workerPlugin(
    async (path: string) => {
      const { appendFileSync } = await import('node:fs');
      const note = (text: string): void => appendFileSync(path, `${text}\n`);
      return {
        setup: async (worker: { name: string; setEnvironment: (v: object) => Promise<void> }) => {
          await worker.setEnvironment({ PLUGGED: worker.name });
          note(`setup ${worker.name}`);
        },
        teardown: (worker: { name: string }) => note(`teardown ${worker.name}`),
      };
    },
    { name: 'noting', args: [file] },
  );
  expect(await client.registerPlugin(noting)).toBe(true);
  expect(await client.registerPlugin(noting)).toBe(false);
  expect(await lines(file)).toEqual(['setup a']);
  const late = site.worker('--name', 'b', '--nthreads', '1', '--executor', 'processes');
  await client.waitForWorkers(2);
  const read = (): string | undefined => process.env['PLUGGED'];
  const [onA, onB] = [client.with({ workers: ['a'] }), client.with({ workers: ['b'] })];
  expect(await onA.submit(read).result()).toBe('a');
  expect(await onB.submit(read).result()).toBe('b');
  const shell = command('sh', ['-c', 'printf %s "$PLUGGED"']);
  expect(await onB.submit(shell).result()).toMatchObject({ stdout: 'b' });
  late.child.kill('SIGTERM');
  expect(await late.ended()).toBe(0);
  expect(await client.unregisterPlugin('noting')).toBe(true);
  expect(await client.unregisterPlugin('noting')).toBe(false);
  expect(await lines(file)).toEqual(['setup a', 'setup b', 'teardown b', 'teardown a']);
});

test('a plugin that fails, exits, hangs or is none is on no worker, and harms no task', async () => {
  await using site = await Site.open();
  site.scheduler();
  const worker = site.worker('--name', 'a', '--nthreads', '1');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1);
  const plugins = [
    [() => ({ setup: () => Promise.reject(new Error('no disk')) }), 'a: Error: no disk'],
    [() => ({ setup: () => process.exit(3) }), 'process.exit(3)'],
    [() => ({ setup: () => new Promise(() => {}) }), 'its setup took longer than'],
    [() => ({ teardwon: () => {} }), 'none of the methods'],
    [() => 7, 'this is no plugin'],
  ] as const;
  for (const [make, why] of plugins) {
    const plugin = workerPlugin(make, {
      name: 'odd',
      setupTimeoutMs: why.includes('longer') ? 300 : 20_000,
    });
    const message: unknown = expect.stringContaining(why);
    await expect(client.registerPlugin(plugin)).rejects.toMatchObject({
      code: 'ERR_PLUGIN',
      message,
    });
  }
  const gate = join(site.directory, 'gate');
  const blocking = workerPlugin(
    async (path: string) => {
      const { existsSync } = await import('node:fs');
      return {
        setup: () =>
          void setImmediate(() => {
            throw new Error('late');
          }),
        transition: () => {
          while (!existsSync(path));
        },
      };
    },
    { name: 'blocking', args: [gate] },
  );
  expect(await client.registerPlugin(blocking)).toBe(true);
  const sums = client.map(
    (x: number) => x + 1,
    Array.from({ length: 200 }, (_, x) => x),
  );
  expect((await client.gather(sums)).length).toBe(200);
  await until('what it throws is logged', () => worker.log.includes('threw in a callback'));
  await writeFile(gate, '');
  expect(await client.unregisterPlugin('blocking')).toBe(true);
});

test.each(['threads', 'processes'])(
  'files, directories and packages come to workers with %s',
  async (executor) => {
    await using site = await Site.open();
    site.scheduler();
    const flags = ['--local-directory', './local', '--executor', executor];
    site.worker('--name', 'a', '--nthreads', '1', ...flags);
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1);
    const tree = join(site.directory, 'tree');
    await mkdir(join(tree, 'inner'), { recursive: true });
    await writeFile(join(tree, 'run.sh'), '#!/bin/sh\necho "ran $1"\n', { mode: 0o755 });
    await writeFile(join(tree, 'inner', 'lib.mjs'), 'export const answer = 42;\n');
    await symlink('inner/lib.mjs', join(tree, 'link.mjs'));
    const uploaded = await client.upload(tree);
    expect(uploaded).toMatchObject({ name: 'tree', isNew: true });
    expect((await client.upload(tree)).isNew).toBe(false);
    const answer = async (): Promise<unknown> =>
      ((await import(['./tree', 'link.mjs'].join('/'))) as Record<string, unknown>)['answer'];
    expect(await client.submit(answer).result()).toBe(42);
    const shell = command('sh', ['-c', '"$FARM_LOCAL_DIRECTORY/tree/run.sh" well']);
    expect(await client.submit(shell).result()).toMatchObject({ stdout: 'ran well\n' });

    await writeFile(join(site.directory, 'params.txt'), 'one');
    const read = async (): Promise<string> => {
      const { readFileSync: get } = await import('node:fs');
      return get(`${process.env['FARM_LOCAL_DIRECTORY']}/params.txt`, 'utf8');
    };
    const first = await client.upload(join(site.directory, 'params.txt'));
    expect(await client.submit(read).result()).toBe('one');
    await writeFile(join(site.directory, 'params.txt'), 'two');
    const second = await client.upload(join(site.directory, 'params.txt'));
    expect(second.hash).not.toBe(first.hash);
    expect(await client.submit(read).result()).toBe('two');
    expect(await client.unregisterPlugin('params.txt')).toBe(true);
    await expect(client.submit(read).result()).rejects.toThrow('ENOENT');

    const folder = join(site.directory, 'a-package');
    await mkdir(folder);
    const manifest = {
      name: 'farm-test-package',
      version: '1.2.3',
      exports: './index.mjs',
      type: 'module',
    };
    await writeFile(join(folder, 'package.json'), JSON.stringify(manifest));
    await writeFile(join(folder, 'index.mjs'), "export default 'installed';\n");
    const plugin = npmInstallPlugin([folder], { args: ['--offline', '--install-links'] });
    expect(await client.registerPlugin(plugin)).toBe(true);
    const use = async (): Promise<unknown> =>
      ((await import(['farm-test', 'package'].join('-'))) as Record<string, unknown>)['default'];
    expect(await client.submit(use).result()).toBe('installed');
    const missing = npmInstallPlugin([join(site.directory, 'nothing')], { name: 'more' });
    await expect(client.registerPlugin(missing)).rejects.toThrow(
      'npm install ended with exit code',
    );
  },
);

test('the environment of a client is that of tasks, and put back at the end', async () => {
  await using site = await Site.open();
  site.scheduler();
  site.worker('--name', 'a', '--nthreads', '1');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  const read = (): string => `${process.env['MINE']} ${process.env['HOME'] === undefined}`;
  await client.waitForWorkers(1);
  const home = await client.submit(read).result();
  await client.registerPlugin(environmentPlugin({ MINE: 'yes', HOME: null }));
  expect(await client.submit(read).result()).toBe('yes true');
  await client.unregisterPlugin('environment');
  expect(await client.submit(read).result()).toBe(home);
  await client.registerPlugin(environmentPlugin({ MINE: 'nanny' }, { name: 'n', kind: 'nanny' }));
  expect(await client.submit(read).result()).toMatch(/^nanny/);
  const die = (): boolean => process.kill(process.pid, 'SIGKILL');
  await expect(client.with({ rerunOnLoss: false }).submit(die).result()).rejects.toMatchObject({
    code: 'ERR_KILLED_WORKER',
  });
  expect(await client.submit(read).result()).toMatch(/^nanny/);
});

test('plugins end with a worker whose scheduler is gone for good', async () => {
  await using site = await Site.open();
  const scheduler = site.scheduler();
  await writeFile(join(site.directory, 'noting.mjs'), NOTING);
  const preload = ['--preload', './noting.mjs', '--preload-argv', 'seen', '--preload-argv=> '];
  const worker = site.worker('--name', 'w', '--nthreads', '1', '--death-timeout', '1s', ...preload);
  {
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1);
    const file = join(site.directory, 'seen');
    const noting = workerPlugin(pathToFileURL(join(site.directory, 'noting.mjs')), {
      args: [file, '+ '],
      name: 'noting',
    });
    await client.registerPlugin(noting);
    scheduler.child.kill('SIGKILL');
    expect(await worker.ended()).toBe(1);
  }
  const seen = await lines(join(site.directory, 'seen'));
  expect(seen.slice(0, 2)).toEqual(['> setup w 1', '+ setup w 1']);
  expect(seen.slice(2).toSorted()).toEqual(['+ teardown w connected', '> teardown w connected']);
});

import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { Client, command } from '@farm/client';
import { expect, test } from 'vitest';

import { Site, treeOf, until } from './processes.ts';
import type { Program } from './processes.ts';

// Goal: a worker that is asked to go loses nothing: what it runs ends, what it has not begun runs
// elsewhere, what it holds is still there, and nothing is done twice.

/** Two workers, of which `leaver` has begun before `stayer` came. */
async function twoWorkers(
  site: Site,
  ...flags: readonly string[]
): Promise<{ readonly client: Client; readonly leaver: Program }> {
  site.scheduler();
  const leaver = site.worker('--nthreads', '1', '--name', 'leaver', ...flags);
  const client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1, { timeoutMs: 20_000 });
  return { client, leaver };
}

async function joinStayer(site: Site, client: Client): Promise<void> {
  site.worker('--nthreads', '1', '--name', 'stayer');
  await client.waitForWorkers(2, { timeoutMs: 20_000 });
}

/** Writes its number into a file, waits until `gate` exists, and returns more than a message takes. */
const work = async (log: string, number: number, gate: string): Promise<Uint8Array> => {
  const fs = await import('node:fs');
  fs.appendFileSync(log, `${number}\n`);
  while (!fs.existsSync(gate)) await new Promise((resolve) => setTimeout(resolve, 10));
  return new Uint8Array(100_000).fill(number);
};

test('SIGTERM: what runs ends, what waits moves, results stay, nothing twice', async () => {
  await using site = await Site.open();
  const farm = await twoWorkers(site);
  await using client = farm.client;
  const { leaver } = farm;
  const [log, open, gate] = ['log', 'open', 'gate'].map((name) => join(site.directory, name));
  if (log === undefined || open === undefined || gate === undefined) throw new Error('no paths');
  await writeFile(open, '');
  const once = client.with({ rerunOnLoss: false });
  const held = [1, 2, 3].map((number) => once.submit(work, log, number, open));
  for (const future of held) await until('a result is there', () => future.done);
  const running = once.submit(work, log, 4, gate);
  const waiting = [5, 6, 7, 8].map((number) => client.submit(work, log, number, open));
  await until('it runs', async () => (await readFile(log, 'utf8')).includes('4'));
  await joinStayer(site, client);
  leaver.child.kill('SIGTERM');
  for (const future of waiting) expect((await future.result())[0]).toBeGreaterThan(4);
  expect(leaver.child.exitCode).toBeNull();
  await writeFile(gate, '');
  expect(await leaver.ended()).toBe(0);
  for (const [index, future] of [...held, running].entries()) {
    expect((await future.result())[0]).toBe(index + 1);
  }
  const begun = (await readFile(log, 'utf8')).trim().split('\n').map(Number);
  expect(begun.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  expect(leaver.log).toContain('ended: the nanny received SIGTERM');
}, 60_000);

test('a second signal ends it at once; what ran runs elsewhere', async () => {
  await using site = await Site.open();
  const farm = await twoWorkers(site, '--drain-timeout', '10m');
  await using client = farm.client;
  const { leaver } = farm;
  const [log, gate] = [join(site.directory, 'log'), join(site.directory, 'gate')];
  const running = client.submit(work, log, 1, gate);
  await until('it runs', () => existsSync(log));
  await joinStayer(site, client);
  leaver.child.kill('SIGTERM');
  await until('it drains', () => leaver.log.includes('draining: the nanny received SIGTERM'));
  leaver.child.kill('SIGINT');
  expect(await leaver.ended()).toBe(0);
  await writeFile(gate, '');
  expect((await running.result())[0]).toBe(1);
  expect(running.worker).toBe('stayer');
}, 60_000);

test('the end of a lifetime drains, and the nanny starts another worker', async () => {
  await using site = await Site.open();
  const flags = ['--lifetime', '5s', '--lifetime-stagger', '100ms', '--lifetime-restart'];
  const farm = await twoWorkers(site, ...flags);
  await using client = farm.client;
  const { leaver } = farm;
  const [log, gate] = [join(site.directory, 'log'), join(site.directory, 'gate')];
  const running = client.with({ rerunOnLoss: false }).submit(work, log, 9, gate);
  await until('it runs', () => existsSync(log));
  const pid = async (): Promise<number> =>
    (await client.schedulerInfo()).workers.find(({ name }) => name === 'leaver')?.pid ?? 0;
  const first = await pid();
  await joinStayer(site, client);
  await until('its lifetime is over', () => leaver.log.includes('draining: the lifetime is over'));
  expect(await pid()).toBe(first);
  await writeFile(gate, '');
  await until('another is there', async () => ![0, first].includes(await pid()), 20_000);
  expect((await running.result())[0]).toBe(9);
  expect(await readFile(log, 'utf8')).toBe('9\n');
  expect(leaver.log).not.toContain('died');
}, 60_000);

test('a lifetime without restart ends the program with 0', async () => {
  await using site = await Site.open();
  const { client, leaver } = await twoWorkers(site, '--lifetime', '2s');
  expect(await leaver.ended()).toBe(0);
  expect(leaver.log).toContain('ended: the lifetime is over');
  await client.close();
}, 60_000);

test('a worker that drains without a scheduler does not wait for it', async () => {
  await using site = await Site.open();
  const scheduler = site.scheduler();
  const leaver = site.worker('--nthreads', '1', '--name', 'leaver');
  await using client = new Client({ schedulerFile: site.schedulerFile });
  await client.waitForWorkers(1, { timeoutMs: 20_000 });
  scheduler.child.kill('SIGKILL');
  await until('it notices', () => leaver.log.includes('lost the connection to the scheduler'));
  leaver.child.kill('SIGTERM');
  expect(await leaver.ended()).toBe(0);
}, 60_000);

test.runIf(process.platform === 'linux')(
  'SIGTERM of every process of a job, as batch systems send it: commands run elsewhere',
  async () => {
    await using site = await Site.open();
    site.scheduler();
    const leaver = site.worker('--nthreads', '3', '--name', 'leaver');
    await using client = new Client({ schedulerFile: site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const [log, gate] = [join(site.directory, 'log'), join(site.directory, 'gate')];
    const wait = 'echo 1 >> "$0"; while [ ! -e "$1" ]; do sleep 0.05; done; echo done';
    const program = client.submit(command('sh', ['-c', wait, log, gate]));
    const once = client.with({ rerunOnLoss: false });
    const doomed = once.submit(command('sh', ['-c', wait, log, gate]));
    const inProcess = once.with({ executor: 'processes' }).submit(work, log, 7, gate);
    await until('all run', async () => {
      return existsSync(log) && (await readFile(log, 'utf8')).trim().split('\n').length === 3;
    });
    await joinStayer(site, client);
    for (const pid of treeOf(leaver.child.pid ?? 0)) {
      try {
        process.kill(pid, 'SIGTERM');
      } catch {
        // A program of the commands, which come and go.
      }
    }
    await expect(doomed.result()).rejects.toMatchObject({ code: 'ERR_KILLED_WORKER' });
    expect(leaver.child.exitCode).toBeNull();
    await writeFile(gate, '');
    expect((await program.result()).stdout).toBe('done\n');
    expect(program.worker).toBe('stayer');
    expect((await inProcess.result())[0]).toBe(7);
    expect(inProcess.worker).toBe('leaver');
    expect(await leaver.ended()).toBe(0);
  },
  60_000,
);

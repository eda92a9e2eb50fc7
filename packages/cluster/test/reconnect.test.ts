import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { Client } from '@farm/client';
import type { Future } from '@farm/client';
import { parseAddress } from '@farm/protocol';
import { expect, test } from 'vitest';

import { Link } from '../../protocol/test/transport/proxy.ts';
import { TASKS, TOTAL, startFarm } from './fixtures/farm.ts';
import { Site, until } from './processes.ts';
import type { Program } from './processes.ts';

// Goal: links that break and heal, and processes that stand still for a while, cost nothing: no
// task runs twice and the client sees no error. A process that is dead is noticed all the same.

/** How long links are cut and processes stopped. `FARM_CUT_MS=20000` is the whole promise. */
const CUT_MS = Number(process.env['FARM_CUT_MS'] ?? 700);
/** How long a test may take. */
const TEST_MS = 120_000 + 10 * CUT_MS;

/** A scheduler whose clients and workers reach it over links that a test can cut. */
class CutSite {
  readonly site: Site;
  readonly scheduler: Program;
  readonly links: Link[] = [];

  private constructor(site: Site, scheduler: Program) {
    this.site = site;
    this.scheduler = scheduler;
  }

  static async open(...schedulerFlags: readonly string[]): Promise<CutSite> {
    const site = await Site.open();
    const scheduler = site.scheduler(...schedulerFlags);
    await until('the scheduler file is there', () => existsSync(site.schedulerFile));
    return new CutSite(site, scheduler);
  }

  /** A scheduler file that leads over a link of its own. */
  async link(): Promise<{ readonly link: Link; readonly file: string }> {
    const content = JSON.parse(await readFile(this.site.schedulerFile, 'utf8')) as {
      address: string;
    };
    const { host, port } = parseAddress(content.address, { defaultPort: 0 });
    const link = await Link.to({ host, port });
    this.links.push(link);
    const file = join(this.site.directory, `over-${link.port}.json`);
    await writeFile(file, JSON.stringify({ ...content, address: link.address }), { mode: 0o600 });
    return { link, file };
  }

  async worker(name: string, ...flags: readonly string[]): Promise<[Program, Link]> {
    const { link, file } = await this.link();
    const shape = ['--scheduler-file', file, '--name', name, '--nthreads', '1', '--no-nanny'];
    return [this.site.start('farm-worker', ...shape, ...flags), link];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.site[Symbol.asyncDispose]();
    for (const link of this.links) await link[Symbol.asyncDispose]();
  }
}

/** What the sum is, and that nothing was started twice. */
async function checkFarm(total: Future<number>, log: string): Promise<void> {
  expect(await total.result({ timeoutMs: TEST_MS })).toBe(TOTAL);
  await checkStarts(log);
}

async function checkStarts(log: string): Promise<void> {
  const started = (await readFile(log, 'utf8')).trim().split('\n');
  expect(started.toSorted()).toEqual([...new Set(started)].toSorted());
  expect(started).toHaveLength(2 * TASKS);
}

test(
  'every link cut in turn under a running farm: nothing runs twice, no error',
  { timeout: TEST_MS },
  async () => {
    await using site = await CutSite.open();
    const [, one] = await site.worker('one');
    const [, other] = await site.worker('other');
    const { link, file } = await site.link();
    await using client = new Client({ schedulerFile: file });
    await client.waitForWorkers(2, { timeoutMs: 20_000 });
    const log = join(site.site.directory, 'started');
    const cables = [one, link, other, one, other, link];
    const events: string[] = [];
    client.on('disconnected', ({ code }) => void events.push(code));
    client.on('reconnected', () => void events.push('reconnected'));
    // So long that two workers are busy through all of it.
    const total = startFarm(client, log, Math.max(150, (CUT_MS * cables.length * 2) / TASKS));
    for (const cable of cables) {
      const { dialled } = cable;
      cable.cut();
      // The farm goes on meanwhile, and finishes tasks that it cannot report.
      await delay(CUT_MS);
      cable.mend();
      await until('it is dialled again', () => cable.dialled > dialled);
    }
    await checkFarm(total, log);
    expect(site.scheduler.log).toContain('is back');
    // Its own link was cut twice.
    const twice = ['ERR_CONNECTION_LOST', 'reconnected'];
    expect(events).toEqual([...twice, ...twice]);
  },
);

test(
  'a scheduler that is found at another address is the same: nothing runs twice, no error',
  { timeout: TEST_MS },
  async () => {
    await using site = await CutSite.open();
    const { link: old, file } = await site.link();
    const flags = ['--nthreads', '1', '--no-nanny'];
    const worker = site.site.start('farm-worker', '--scheduler-file', file, ...flags);
    await using client = new Client({ schedulerFile: file });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const log = join(site.site.directory, 'started');
    const total = startFarm(client, log, 20);
    await until('tasks run', () => existsSync(log));
    old.cut();
    await until('both are away', () => worker.log.includes('lost the connection'));
    const { file: elsewhere, link } = await site.link();
    await rename(elsewhere, file);
    await checkFarm(total, log);
    expect(old.dialled).toBe(2);
    expect(link.dialled).toBeGreaterThanOrEqual(2);
    expect(site.scheduler.log).toContain('is back');
  },
);

test(
  'links that fall silent are found out, and cost nothing either',
  { timeout: TEST_MS },
  async () => {
    await using site = await CutSite.open('--heartbeat-timeout', '1s');
    const [worker, one] = await site.worker('one', '--heartbeat-timeout', '1s');
    await site.worker('other', '--heartbeat-timeout', '1s');
    await using client = new Client({ schedulerFile: site.site.schedulerFile });
    await client.waitForWorkers(2, { timeoutMs: 20_000 });
    const log = join(site.site.directory, 'started');
    const total = startFarm(client, log, 100);
    one.silence();
    await until('both ends notice', () => {
      return (
        site.scheduler.log.includes('worker one is away') &&
        worker.log.includes('lost the connection to the scheduler')
      );
    });
    one.mend();
    await checkFarm(total, log);
    expect(site.scheduler.log).toContain('worker one is back');
  },
);

test(
  'a cluster that stands still for longer than any timeout goes on as if nothing was',
  { timeout: TEST_MS },
  async () => {
    await using site = await CutSite.open('--heartbeat-timeout', '1s', '--lease', '1s');
    const flags = ['--heartbeat-timeout', '1s'];
    const [one] = await site.worker('one', ...flags);
    const [other] = await site.worker('other', ...flags);
    const log = join(site.site.directory, 'started');
    const entry = fileURLToPath(new URL('fixtures/farm.ts', import.meta.url));
    const args = ['--conditions=@farm/source', entry, site.site.schedulerFile, log, '50'];
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (printed += text));
    await until('tasks run', () => existsSync(log) && existsSync(`${log}.client`), 30_000);
    const processes = [site.scheduler.child, one.child, other.child, child];
    for (const process of processes) process.kill('SIGSTOP');
    await delay(Math.max(4_000, CUT_MS));
    for (const process of processes) process.kill('SIGCONT');
    await until('the client ends', () => child.exitCode !== null, TEST_MS);
    expect(printed.trim()).toBe(String(TOTAL));
    await checkStarts(log);
  },
);

test(
  'a worker that is killed is not waited for, nor is one that is killed while away',
  { timeout: TEST_MS },
  async () => {
    await using site = await CutSite.open('--lease', '1h');
    const [, link] = await site.worker('cut');
    await using client = new Client({ schedulerFile: site.site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const names = async (): Promise<readonly string[]> =>
      (await client.schedulerInfo()).workers.map(({ name }) => name);
    const status = async (): Promise<readonly string[]> =>
      (await client.schedulerInfo()).workers.map((worker) => worker.status);
    const [doomed] = await site.worker('doomed');
    await client.waitForWorkers(2, { timeoutMs: 20_000 });
    doomed.child.kill('SIGKILL');
    await until('its death is noticed', async () => !(await names()).includes('doomed'));

    const [late, lateLink] = await site.worker('late');
    await client.waitForWorkers(2, { timeoutMs: 20_000 });
    lateLink.cut();
    link.cut();
    await until('both are away', () => {
      return ['late', 'cut'].every((name) => site.scheduler.log.includes(`worker ${name} is away`));
    });
    expect(await names()).toEqual(['cut', 'late']);
    expect(await status()).toEqual(['away', 'away']);
    late.child.kill('SIGKILL');
    await until('its death is noticed', async () => !(await names()).includes('late'));
    expect(await names()).toEqual(['cut']);
  },
);

test(
  'a worker that comes back too late starts anew, with nothing',
  { timeout: 60_000 },
  async () => {
    await using site = await CutSite.open('--lease', '500ms');
    const [worker, link] = await site.worker('slow');
    await using client = new Client({ schedulerFile: site.site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    const big = client.submit(() => new Uint8Array(1_000_000).fill(7));
    await until('the result is there', () => big.done);
    link.cut();
    await until('it is given up', async () => (await client.schedulerInfo()).workers.length === 0);
    link.mend();
    const sum = client.submit((bytes: Uint8Array) => bytes.reduce((a, b) => a + b, 0), big);
    expect(await sum.result({ timeoutMs: 20_000 })).toBe(7_000_000);
    expect(worker.log).toContain('starting over');
  },
);

test('a client that comes back too late is told so', { timeout: 60_000 }, async () => {
  await using site = await CutSite.open('--lease', '500ms');
  const { link, file } = await site.link();
  await using client = new Client({ schedulerFile: file });
  const waiting = client.submit(() => 1);
  await client.schedulerInfo();
  link.cut();
  await expect(waiting.result({ timeoutMs: 20_000 })).rejects.toMatchObject({
    code: 'ERR_CONNECTION_LOST',
  });
});

test('a client that is killed is forgotten after its lease', { timeout: TEST_MS }, async () => {
  await using site = await CutSite.open('--lease', '1s');
  await site.worker('one');
  await site.worker('other');
  await using client = new Client({ schedulerFile: site.site.schedulerFile });
  await client.waitForWorkers(2, { timeoutMs: 20_000 });
  const log = join(site.site.directory, 'started');
  const entry = fileURLToPath(new URL('fixtures/farm.ts', import.meta.url));
  const args = ['--conditions=@farm/source', entry, site.site.schedulerFile, log, '60000'];
  const child = spawn(process.execPath, args, { stdio: 'ignore' });
  await until(
    'tasks run',
    async () => (await client.schedulerInfo()).tasks.processing === 2,
    30_000,
  );
  expect((await client.schedulerInfo()).clients).toBe(2);
  child.kill('SIGKILL');
  await until('it is forgotten', async () => (await client.schedulerInfo()).clients === 1);
  // Its tasks are stopped, and the slots are free.
  const answers = client.map((x: number) => x + 1, [1, 2]);
  expect(await client.gather(answers)).toEqual([2, 3]);
  const { tasks } = await client.schedulerInfo();
  expect([tasks.queued, tasks.waiting, tasks.processing, tasks.memory]).toEqual([0, 0, 0, 2]);
});

test(
  'workers whose slots are all busy are not taken for silent',
  { timeout: TEST_MS },
  async () => {
    await using site = await CutSite.open('--heartbeat-timeout', '2s');
    const flags = ['--nthreads', '8', '--no-nanny', '--heartbeat-timeout', '2s'];
    const worker = site.site.worker(...flags);
    await using client = new Client({ schedulerFile: site.site.schedulerFile });
    await client.waitForWorkers(1, { timeoutMs: 20_000 });
    // More threads than cores, none of which ever waits.
    const spin = (ms: number): number => {
      const endMs = Date.now() + ms;
      let rounds = 0;
      while (Date.now() < endMs) rounds += 1;
      return rounds;
    };
    const rounds = await client.gather(client.map(spin, Array<number>(8).fill(5_000)));
    expect(Math.min(...rounds)).toBeGreaterThan(0);
    expect(site.scheduler.log).not.toContain('is away');
    expect(worker.log).not.toContain('lost the connection');
    expect((await client.schedulerInfo()).workers.map(({ status }) => status)).toEqual(['running']);
  },
);

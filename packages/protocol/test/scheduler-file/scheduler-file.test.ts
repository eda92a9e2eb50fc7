import { execFileSync, fork } from 'node:child_process';
import { chmod, mkdtemp, readFile, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { hostname, tmpdir } from 'node:os';
import { join, relative } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import {
  describeSchedulerFile,
  formatAddress,
  isStale,
  makeToken,
  readSchedulerFile,
  removeSchedulerFile,
  waitForSchedulerFile,
  writeSchedulerFile,
} from '@farm/protocol';
import type { SchedulerFileInfo } from '@farm/protocol';
import { containing, matching } from '../transport/texts.ts';

const TOKENS = { client: makeToken(), worker: makeToken() };

const INFO: SchedulerFileInfo = {
  id: 'scheduler-1',
  address: 'tcp://10.0.0.7:8786',
  services: { dashboard: 8787 },
  startedMs: 1_700_000_000_250,
  protocol: 1,
  pid: process.pid,
  host: hostname(),
  tokens: TOKENS,
};

let directory = '';
let path = '';

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'farm-test-'));
  path = join(directory, 'scheduler.json');
});
afterEach(() => rm(directory, { recursive: true, force: true }));

const asClient = { role: 'client' } as const;

describe('writeSchedulerFile', () => {
  it('writes what programs that know Dask read, for its owner only', async () => {
    await writeSchedulerFile(path, INFO);
    const text = await readFile(path, 'utf8');
    expect(JSON.parse(text)).toEqual({
      type: 'Scheduler',
      id: 'scheduler-1',
      address: 'tcp://10.0.0.7:8786',
      services: { dashboard: 8787 },
      started: 1_700_000_000.25,
      workers: {},
      farm: { version: 1, protocol: 1, pid: process.pid, host: hostname(), tokens: TOKENS },
    });
    expect(text).toMatch(/^\{\n {2}"type": "Scheduler",\n/);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(await readdir(directory)).toEqual(['scheduler.json']);
  });

  it('replaces a file that anybody could read by one that nobody else can', async () => {
    await writeFile(path, 'old', { mode: 0o644 });
    await writeSchedulerFile(path, INFO);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it.each([
    [
      'a missing directory',
      'no/such/scheduler.json',
      /cannot be written: there is no directory \/.*no\/such$/,
    ],
    ['a directory', '.', /cannot be written: it is a directory|cannot be written: EBUSY/],
  ])('names the absolute path where it fails: %s', async (_what, name, message) => {
    const target = join(directory, name);
    await expect(writeSchedulerFile(target, INFO)).rejects.toMatchObject({
      code: 'ERR_SCHEDULER_FILE',
      message: matching(message),
    });
    await expect(writeSchedulerFile(target, INFO)).rejects.toThrow(target);
    expect(await readdir(directory)).toEqual([]);
  });

  it('never shows a reader less than a whole file, in 1,000 replacements', async () => {
    const reader = fork(new URL('spinning-reader.ts', import.meta.url), [path], {
      execArgv: ['--conditions=@farm/source'],
    });
    await once(reader, 'message');
    for (let cycle = 0; cycle < 1_000; cycle++) {
      await writeSchedulerFile(path, { ...INFO, id: `scheduler-${cycle}` });
      if (cycle % 2 === 1) await removeSchedulerFile(path, `scheduler-${cycle}`);
    }
    reader.send('stop');
    const report = await new Promise<unknown>((resolve) => reader.once('message', resolve));
    await once(reader, 'exit');
    expect(report).toMatchObject({ broken: [] });
    // SAFE: the reader sends its counts.
    expect((report as { whole: number }).whole).toBeGreaterThan(0);
  });
});

describe('readSchedulerFile', () => {
  it('gives the token of the role, the address parsed, and the absolute path', async () => {
    await writeSchedulerFile(path, INFO);
    const file = await readSchedulerFile(relative(process.cwd(), path), asClient);
    const { tokens, address, ...same } = INFO;
    expect(file).toEqual({
      ...same,
      path,
      token: tokens.client,
      address: { secure: false, host: '10.0.0.7', port: 8786 },
    });
    expect(formatAddress(file.address)).toBe(address);
    expect((await readSchedulerFile(path, { role: 'worker' })).token).toBe(tokens.worker);
  });

  it('bears a byte-order mark, unknown fields and odd keys', async () => {
    await writeSchedulerFile(path, INFO);
    const text = await readFile(path, 'utf8');
    const odd = `\uFEFF{"__proto__":{"id":"evil"},"constructor":1,${text.slice(1)}`;
    await writeFile(path, odd);
    const file = await readSchedulerFile(path, asClient);
    expect(file.id).toBe('scheduler-1');
    expect(Object.keys(file)).not.toContain('constructor');
  });

  it('warns where others may read it', async () => {
    await writeSchedulerFile(path, INFO);
    const warnings: string[] = [];
    const onWarning = (message: string): void => void warnings.push(message);
    await readSchedulerFile(path, { role: 'client', onWarning });
    expect(warnings).toEqual([]);
    await chmod(path, 0o644);
    await readSchedulerFile(path, { role: 'client', onWarning });
    expect(warnings).toEqual([containing(`chmod 600 ${path}`)]);
    expect(warnings[0]).not.toContain(TOKENS.client);
  });

  const whole = {
    type: 'Scheduler',
    id: 'a',
    address: 'tcp://h:1',
    services: {},
    started: 1,
    workers: {},
    farm: { version: 1, protocol: 1, pid: 5, host: 'h', tokens: TOKENS },
  };
  it.each<readonly [string, unknown, RegExp]>([
    ['nothing', '', /is empty/],
    ['half', JSON.stringify(whole).slice(0, 60), /is not valid JSON/],
    ['not JSON', TOKENS.client, /is not valid JSON/],
    ['a list', [], /is not a JSON object/],
    ['a number', 7, /is not a JSON object/],
    ['a file of something else', { type: 'Worker' }, /not of type "Scheduler"/],
    ['a file of Dask', { ...whole, farm: undefined }, /of a Dask scheduler\?/],
    ['another format', { ...whole, farm: { ...whole.farm, version: 2 } }, /version 2/],
    ['no id', { ...whole, id: undefined }, /has no field id/],
    ['an odd id', { ...whole, id: 5 }, /id is not text/],
    ['no address', { ...whole, address: undefined }, /has no field address/],
    ['a broken address', { ...whole, address: 'http://x' }, /address that is none: .*scheme/],
    ['no start', { ...whole, started: 'now' }, /started is not a number/],
    [
      'no tokens',
      { ...whole, farm: { ...whole.farm, tokens: {} } },
      /has no field farm\.tokens\.client/,
    ],
    ['an odd token', { ...whole, farm: { ...whole.farm, tokens: { client: [1] } } }, /not text/],
    ['an odd pid', { ...whole, farm: { ...whole.farm, pid: 1.5 } }, /not a process id/],
  ])('names path and problem, and no secret: %s', async (_what, content, problem) => {
    await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
    const why: unknown = await readSchedulerFile(path, asClient).catch((error: unknown) => error);
    expect(why).toMatchObject({
      code: 'ERR_SCHEDULER_FILE',
      message: matching(problem),
    });
    expect(String(why)).toContain(path);
    expect(String(why)).not.toContain(TOKENS.client);
  });

  it.each([
    ['missing', () => Promise.resolve(), /does not exist/],
    [
      'a directory',
      () => rm(path, { force: true }).then(() => execFileSync('mkdir', [path])),
      /a directory/,
    ],
    ['a FIFO', () => Promise.resolve(execFileSync('mkfifo', [path])), /not a regular file/],
    ['2 MB', () => writeFile(path, Buffer.alloc(2_000_000, 0x20)), /2000000 bytes/],
    ['a circle of links', () => symlink(path, path), /leads to itself/],
  ])('does not hang or fail strangely where it is %s', async (_what, make, problem) => {
    await make();
    await expect(readSchedulerFile(path, asClient)).rejects.toMatchObject({
      code: 'ERR_SCHEDULER_FILE',
      message: matching(problem),
    });
  });
});

describe('waitForSchedulerFile', () => {
  it('waits until the file is there and whole, and says what for', async () => {
    const told: string[] = [];
    const first = Promise.withResolvers<void>();
    const waiting = waitForSchedulerFile(path, {
      role: 'client',
      timeoutMs: null,
      onWaiting: (message) => {
        told.push(message);
        first.resolve();
      },
    });
    await first.promise;
    await writeFile(path, '{"type": "Sched');
    await writeSchedulerFile(path, INFO);
    expect((await waiting).id).toBe('scheduler-1');
    expect(told).toEqual([`waiting for a scheduler to write ${path}`]);
  });

  it('gives up after its time, naming the path', async () => {
    const attempt = waitForSchedulerFile(path, { role: 'client', timeoutMs: 20 });
    await expect(attempt).rejects.toMatchObject({
      code: 'ERR_SCHEDULER_FILE',
      message: matching(/does not exist; waited 20 ms/),
    });
  });

  it('does not wait for what will not mend', async () => {
    const attempt = waitForSchedulerFile(directory, { role: 'client', timeoutMs: null });
    await expect(attempt).rejects.toThrow(/it is a directory/);
  });

  it('stops when its signal says so', async () => {
    const controller = new AbortController();
    const attempt = waitForSchedulerFile(path, {
      role: 'client',
      timeoutMs: null,
      signal: controller.signal,
      onWaiting: () => controller.abort(new Error('enough')),
    });
    await expect(attempt).rejects.toThrow(/enough|aborted/);
  });
});

describe('removeSchedulerFile', () => {
  it('removes the file of this scheduler and no other', async () => {
    await writeSchedulerFile(path, INFO);
    expect(await removeSchedulerFile(path, 'another')).toBe(false);
    expect(await readdir(directory)).toEqual(['scheduler.json']);
    expect(await removeSchedulerFile(path, INFO.id)).toBe(true);
    expect(await removeSchedulerFile(path, INFO.id)).toBe(false);
    expect(await readdir(directory)).toEqual([]);
  });
});

describe('a stale file', () => {
  it('is one whose process on this machine has ended', async () => {
    const child = fork(new URL('ended.mjs', import.meta.url));
    await once(child, 'exit');
    const pid = child.pid ?? 0;
    expect(isStale({ pid, host: hostname() })).toBe(true);
    expect(isStale({ pid, host: 'another-machine' })).toBe(false);
    expect(isStale({ pid: process.pid, host: hostname() })).toBe(false);
    await writeSchedulerFile(path, { ...INFO, pid });
    const file = await readSchedulerFile(path, asClient);
    expect(describeSchedulerFile(file, INFO.startedMs + 3 * 3_600_000)).toBe(
      `scheduler file ${path}, written 3 h ago by a process that has ended`,
    );
  });
});

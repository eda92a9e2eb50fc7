import { mkdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';

import { describe, expect, test } from 'vitest';

import type { CgroupFiles } from '../../src/shell/task-memory/cgroups/cgroup-files.ts';
import { findCgroupPlace } from '../../src/shell/task-memory/cgroups/cgroup-place.ts';
import { TaskCgroups } from '../../src/shell/task-memory/cgroups/task-cgroups.ts';
import { MemoryGuard } from '../../src/shell/task-memory/memory-guard.ts';
import { Harness } from '../executors/executor-harness.ts';
import { aDirectory, isRunning, pids } from '../executors/command-harness.ts';
import { until } from '../shell/fake-scheduler.ts';
import { aCgroupDirectory, groupsIn, hasCgroups } from './real-cgroups.ts';

// Goal: the kernel holds a command to the memory it asked for, from its first instruction on and
// with all it starts; nothing of a control group is left; where there can be none, nothing breaks.

/** Takes so many bytes at once, and writes to them. */
const TAKE = 'head -c "$0" /dev/zero | tail -c 1000000000 | wc -c';

describe.skipIf(!hasCgroups)('a command in a control group', () => {
  test('that takes more than it asked for fails, though what was killed is not the command', async () => {
    const directory = aCgroupDirectory();
    const cgroups = new TaskCgroups({ directory });
    await using harness = new Harness({ cgroups, resources: [['memory', 50_000_000]] });
    const path = join(aDirectory(), 'pids');
    const script = `sleep 1000 & echo $! > "$1"; ${TAKE}; echo went on`;
    const goesOn = harness.command({ args: ['-c', script, '300000000', path] });
    const failure = await harness.failure(goesOn);
    expect(failure).toMatchObject({ code: 'ERR_MEMORY_LIMIT', name: 'MemoryLimitExceeded' });
    expect(failure.message).toMatch(
      /^task-1: took 47\.\d\d MiB of memory and tried to take more than the 47\.68 MiB it asked for/,
    );
    await harness.until(() => !pids(path).some(isRunning), 'what it left to end');
    const fits = harness.command({ args: ['-c', TAKE, '20000000'] });
    expect(await harness.call(fits)).toMatchObject({ stdout: '20000000\n' });
    await until('the groups are removed', () =>
      groupsIn(directory).length === 0 ? true : undefined,
    );
  });

  test('tells what it took, however short it was', async () => {
    const cgroups = new TaskCgroups({ directory: aCgroupDirectory() });
    await using harness = new Harness({ cgroups, resources: [['memory', 200_000_000]] });
    const run = harness.start(harness.command({ args: ['-c', TAKE, '60000000'] }));
    await harness.end(run);
    const taken = cgroups.takeEndedBytes(run);
    expect(taken).toBeGreaterThan(58_000_000);
    expect(taken).toBeLessThan(90_000_000);
    expect(cgroups.takeEndedBytes(run)).toBe(0);
  });

  test('does not count what files it read are kept in', async () => {
    const cgroups = new TaskCgroups({ directory: aCgroupDirectory() });
    await using harness = new Harness({ cgroups, resources: [['memory', 200_000_000]] });
    const file = join(aDirectory(), 'file');
    const script = 'head -c 100000000 /dev/zero > "$0"; cat "$0" > /dev/null';
    const run = harness.start(harness.command({ args: ['-c', script, file] }));
    await harness.end(run);
    expect(harness.failures.get(run)).toBeUndefined();
    expect(cgroups.takeEndedBytes(run)).toBeLessThan(30_000_000);
  });

  test('ends with all it has started, whatever session they are in, once the kernel has killed', async () => {
    const directory = aCgroupDirectory();
    const cgroups = new TaskCgroups({ directory });
    await using harness = new Harness({ cgroups, resources: [['memory', 50_000_000]] });
    const guard = new MemoryGuard({
      workerName: 'w-1',
      interrupt: (slot, run, why) => harness.executor.interrupt(slot, run, why),
      functionBytes: async () => undefined,
      cgroups,
      // Nothing is found by its environment.
      trees: { look: (commands) => commands.map(() => undefined) },
    });
    const path = join(aDirectory(), 'pids');
    const script = `trap "" TERM; env -i setsid sh -c 'echo $$ > "$0"; exec sleep 1000' "$1" & ${TAKE}; sleep 1000`;
    const run = harness.aRun([]);
    harness.executor.execute(0, harness.command({ args: ['-c', script, '300000000', path] }), [
      run,
    ]);
    guard.began(0, run);
    expect(await harness.failureOf(run.run)).toMatchObject({ code: 'ERR_MEMORY_LIMIT' });
    expect(pids(path).filter(isRunning)).toEqual([]);
    expect(guard.ended(run.run)?.peakBytes).toBeGreaterThan(49_000_000);
    guard.close();
  });

  test('leaves no trace when its worker died: the next one removes what is left', async () => {
    const directory = aCgroupDirectory();
    const namespace = readNamespace();
    mkdirSync(join(directory, `farm.${namespace}.4194305.1.1`));
    mkdirSync(join(directory, `farm.${namespace}.${process.pid}.1.1`));
    const others = ['other', 'farm.1.4194305.1.1'];
    for (const name of others) mkdirSync(join(directory, name));
    const cgroups = new TaskCgroups({ directory });
    const own = cgroups.make(1e8);
    expect(groupsIn(directory)).toHaveLength(3);
    expect(groupsIn(directory)).toEqual(expect.arrayContaining(others));
    if (own !== undefined) cgroups.remove(own);
    expect(groupsIn(directory).toSorted()).toEqual(others.toSorted());
  });
});

describe.skipIf(!hasCgroups)('a process of functions in a control group', () => {
  const functionsIn = 'processes';
  const take = (bytes: number): number => new Uint8Array(bytes).fill(1).length;

  test('ends where a run takes more than it asked for; the next one has a new process', async () => {
    const directory = aCgroupDirectory();
    const cgroups = new TaskCgroups({ directory });
    await using harness = new Harness({
      functionsIn,
      cgroups,
      resources: [['memory', 200_000_000]],
    });
    const fn = harness.source(take);
    expect(await harness.call(fn, 50_000_000)).toBe(50_000_000);
    const failure = await harness.failure(fn, 400_000_000);
    expect(failure).toMatchObject({ code: 'ERR_MEMORY_LIMIT', name: 'MemoryLimitExceeded' });
    expect(failure.message).toContain('more than the 190.73 MiB it asked for');
    expect(await harness.call(fn, 50_000_000)).toBe(50_000_000);
    await until('the group of the first to be removed', () =>
      groupsIn(directory).length === 1 ? true : undefined,
    );
  });

  test('is held to what each run asks for, and those that ask for nothing are free', async () => {
    const cgroups = new TaskCgroups({ directory: aCgroupDirectory() });
    await using harness = new Harness({ functionsIn, cgroups });
    const fn = harness.source(take);
    const call = async (bytes: number, memory?: number): Promise<string> => {
      const resources = memory === undefined ? [] : ([['memory', memory]] as const);
      const run = harness.start(fn, [bytes], { resources });
      await harness.end(run);
      return harness.failures.get(run)?.code ?? 'fine';
    };
    expect(await call(150_000_000, 300_000_000)).toBe('fine');
    expect(await call(400_000_000)).toBe('fine');
    expect(await call(400_000_000, 300_000_000)).toBe('ERR_MEMORY_LIMIT');
    expect(await call(400_000_000, 600_000_000)).toBe('fine');
  });

  test('is replaced where what runs before left in it is more than the next one may take', async () => {
    const cgroups = new TaskCgroups({ directory: aCgroupDirectory() });
    await using harness = new Harness({ functionsIn, cgroups });
    const keep = harness.source((bytes: number) => {
      Object.assign(globalThis, { kept: new Uint8Array(bytes).fill(1) });
      return process.pid;
    });
    const look = harness.source(() => process.pid);
    const first = await harness.call(keep, 300_000_000);
    expect(await harness.call(look)).toBe(first);
    const run = harness.start(look, [], { resources: [['memory', 200_000_000]] });
    await harness.end(run);
    expect(harness.results.get(run)).not.toBe(first);
  });

  test('a run fails of which the kernel killed what it had started', async () => {
    const cgroups = new TaskCgroups({ directory: aCgroupDirectory() });
    await using harness = new Harness({
      functionsIn,
      cgroups,
      resources: [['memory', 200_000_000]],
    });
    const fn = harness.source(async (script: string) => {
      const { spawnSync } = await import('node:child_process');
      spawnSync('sh', ['-c', script, '600000000']);
      return 'went on';
    });
    expect(await harness.failure(fn, TAKE)).toMatchObject({ code: 'ERR_MEMORY_LIMIT' });
    const after = harness.source(() => 'fine');
    expect(await harness.call(after)).toBe('fine');
  });
});

describe('where there can be no control group', () => {
  test('a command runs without one, and that is told once', async () => {
    const told: string[] = [];
    const cgroups = new TaskCgroups({
      directory: '/nowhere',
      unusable: (why) => told.push(why),
    });
    await using harness = new Harness({ cgroups, resources: [['memory', 50_000_000]] });
    const echo = harness.command({ args: ['-c', 'echo up'] });
    expect(await harness.call(echo)).toMatchObject({ stdout: 'up\n' });
    expect(await harness.call(echo)).toMatchObject({ stdout: 'up\n' });
    expect(told).toEqual(['/nowhere is no memory group that can be nested']);
  });

  test.each([
    ['EACCES', 'a batch system keeps its groups to itself'],
    ['EROFS', 'a container sees them only'],
  ])('for %s: %s', (code) => {
    const told: string[] = [];
    const files = aTree({
      '/cg/cgroup.controllers': 'memory',
      '/cg/cgroup.subtree_control': 'memory',
    });
    const makeDirectory = (): void => {
      throw Object.assign(new Error(`${code}: not here`), { code });
    };
    const cgroups = new TaskCgroups({
      directory: '/cg',
      files: { ...files, makeDirectory },
      unusable: (why) => told.push(why),
    });
    expect(cgroups.make(1)).toBeUndefined();
    expect(cgroups.make(1)).toBeUndefined();
    expect(told).toEqual([`${code}: not here`]);
  });
});

describe('the group of a worker', () => {
  const V1 = '31 23 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory';
  const V2 = '32 23 0:29 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw';
  const host = (mounts: readonly string[], groups: readonly string[]): Record<string, string> => ({
    '/proc/self/mountinfo': mounts.join('\n'),
    '/proc/self/cgroup': groups.join('\n'),
  });

  test('is that of version 1 where memory is there', () => {
    const files = aTree({
      ...host([V2, V1], ['4:cpu,memory:/job_1', '0::/user']),
      '/sys/fs/cgroup/memory/job_1/memory.use_hierarchy': '1\n',
    });
    const found = { version: 1, directory: '/sys/fs/cgroup/memory/job_1' };
    expect(findCgroupPlace(files, undefined)).toEqual(found);
  });

  test('is not used where the limits of the job would not hold below it', () => {
    const files = aTree({
      ...host([V1], ['4:memory:/job_1']),
      '/sys/fs/cgroup/memory/job_1/memory.use_hierarchy': '0\n',
    });
    expect(findCgroupPlace(files, undefined)).toContain('can be nested');
  });

  test('is found where a container has a part of the tree mounted', () => {
    const part = '31 23 0:28 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory';
    const files = aTree({
      ...host([part], ['4:memory:/docker/abc/job']),
      '/sys/fs/cgroup/memory/job/memory.use_hierarchy': '1\n',
    });
    const found = { version: 1, directory: '/sys/fs/cgroup/memory/job' };
    expect(findCgroupPlace(files, undefined)).toEqual(found);
    const elsewhere = aTree(host([part], ['4:memory:/docker/abcd']));
    expect(findCgroupPlace(elsewhere, undefined)).toContain('not mounted');
  });

  test('with version 2 has processes, so that none can be limited below it', () => {
    const files = aTree({
      ...host([V2], ['0::/user/job']),
      '/sys/fs/cgroup/user/job/cgroup.controllers': 'cpu memory\n',
      '/sys/fs/cgroup/user/job/cgroup.subtree_control': '\n',
    });
    expect(findCgroupPlace(files, undefined)).toContain('does not give the memory controller');
  });

  test('is none where nothing is mounted', () => {
    expect(findCgroupPlace(aTree({}), undefined)).toBe('no control groups are mounted');
  });
});

describe('a delegated group of version 2', () => {
  const delegated = (): Tree =>
    aTree({ '/d/cgroup.controllers': 'cpu memory\n', '/d/cgroup.subtree_control': 'cpu memory\n' });

  test('has one with a limit for each task, without swap, that ends as a whole', () => {
    const files = delegated();
    const cgroups = new TaskCgroups({ directory: '/d', files });
    const cgroup = cgroups.begin(7, 1_000_000.5);
    const [name = ''] = files.groups('/d');
    expect(name).toMatch(/^farm\.\d+\.\d+\.\d+\.1$/);
    const at = `/d/${name}`;
    expect(cgroup?.entry).toBe(`${at}/cgroup.procs`);
    expect(files.texts.get(`${at}/memory.max`)).toBe('1000001');
    expect(files.texts.get(`${at}/memory.swap.max`)).toBe('0');
    expect(files.texts.get(`${at}/memory.oom.group`)).toBe('1');
    files.texts.set(`${at}/memory.stat`, 'anon 600000\nfile 9\n');
    expect(cgroup?.residentBytes).toBe(600_000);
    cgroup?.kill();
    expect(files.texts.get(`${at}/cgroup.kill`)).toBe('1');
    files.texts.set(`${at}/memory.peak`, '900000\n');
    files.texts.set(`${at}/memory.current`, '200000\n');
    cgroups.ended(7);
    expect(cgroups.takeEndedBytes(7)).toBe(700_000);
    expect(files.groups('/d')).toEqual([]);
  });

  test('was exceeded where the kernel has killed for its own limit, and only there', () => {
    const files = delegated();
    const cgroup = new TaskCgroups({ directory: '/d', files }).make(1_000_000);
    const [name = ''] = files.groups('/d');
    const events = (text: string): unknown => files.texts.set(`/d/${name}/memory.events`, text);
    expect(cgroup?.wasExceeded).toBe(false);
    events('low 0\nhigh 0\nmax 5\noom 0\noom_kill 0\n');
    expect(cgroup?.wasExceeded).toBe(false);
    // The host had no memory left.
    events('low 0\nhigh 0\nmax 0\noom 0\noom_kill 1\n');
    expect(cgroup?.wasExceeded).toBe(false);
    events('low 0\nhigh 0\nmax 5\noom 1\noom_kill 1\n');
    expect(cgroup?.wasExceeded).toBe(true);
    // What it was before a new limit does not count.
    cgroup?.limit(2_000_000);
    expect(cgroup?.wasExceeded).toBe(false);
  });

  test('that processes are still in is removed later', () => {
    const files = delegated();
    const cgroups = new TaskCgroups({ directory: '/d', files });
    const cgroup = cgroups.make(1);
    const [name = ''] = files.groups('/d');
    files.texts.set(`/d/${name}/cgroup.procs`, '12\n');
    if (cgroup !== undefined) cgroups.remove(cgroup);
    expect(files.groups('/d')).toEqual([name]);
    files.texts.set(`/d/${name}/cgroup.procs`, '');
    cgroups.close();
    expect(files.groups('/d')).toEqual([]);
  });
});

/** A made-up tree of version 2: what a directory has once it is made. */
interface Tree extends CgroupFiles {
  readonly texts: Map<string, string>;
  groups(directory: string): readonly string[];
}

function aTree(texts: Readonly<Record<string, string>>): Tree {
  const files = new Map(Object.entries(texts));
  const made = new Set<string>();
  const initial = [
    'cgroup.procs',
    'cgroup.kill',
    'memory.max',
    'memory.swap.max',
    'memory.oom.group',
  ];
  return {
    texts: files,
    readText: (path) => files.get(path),
    writeText: (path, text) => {
      if (!files.has(path)) throw Object.assign(new Error('none'), { code: 'ENOENT' });
      files.set(path, text);
    },
    makeDirectory: (path) => {
      made.add(path);
      for (const name of initial) files.set(`${path}/${name}`, '');
    },
    removeDirectory: (path) => {
      if ((files.get(`${path}/cgroup.procs`) ?? '') !== '') {
        throw Object.assign(new Error('busy'), { code: 'EBUSY' });
      }
      made.delete(path);
    },
    list: () => [],
    groups: (directory) =>
      [...made]
        .filter((path) => path.startsWith(directory))
        .map((path) => path.slice(directory.length + 1)),
  };
}

function readNamespace(): string {
  return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '';
}

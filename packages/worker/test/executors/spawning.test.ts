import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';

import { SpawnerPool } from '../../src/shell/executors/commands/spawner/spawner-pool.ts';
import { TaskCgroups } from '../../src/shell/task-memory/cgroups/task-cgroups.ts';
import { aCgroupDirectory, hasCgroups } from '../task-memory/real-cgroups.ts';
import { cancelled, Harness, thrown } from './executor-harness.ts';
import { aDirectory, isRunning, pids, result } from './command-harness.ts';

const HARNESS = new URL('./executor-harness.ts', import.meta.url).href;

/** Pids of the processes that this one started and that start commands. */
function spawners(): number[] {
  const children = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8');
  return children
    .split(' ')
    .filter((pid) => pid !== '' && isRunning(Number(pid)))
    .filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('class WorkerGone'))
    .map(Number);
}

let hasSpawner = false;
beforeAll(async () => {
  const pool = new SpawnerPool({ slots: 1 });
  hasSpawner = (await pool.get(0)) !== undefined;
  await pool.close();
});

const STARTERS = ['auto', 'node', ...(hasCgroups ? ['auto, in a control group'] : [])];

describe.each(STARTERS)('commands started by %s', (starter) => {
  const commandSpawner = starter === 'node' ? 'node' : 'auto';
  const isEnclosed = starter.includes('group');
  const aHarness = (options: ConstructorParameters<typeof Harness>[0] = {}): Harness => {
    if (!isEnclosed) return new Harness({ commandSpawner, ...options });
    const cgroups = new TaskCgroups({ directory: aCgroupDirectory() });
    return new Harness({ cgroups, resources: [['memory', 5e8]], ...options });
  };

  test('every byte that an argument can have arrives', async () => {
    await using harness = aHarness();
    const chars = Array.from({ length: 255 }, (_, code) => String.fromCodePoint(code + 1)).join('');
    const odd = [
      chars,
      '',
      '-n',
      '--',
      `'"\\$\`!*?[]{}~#;&|<>()`,
      '\n',
      '日本🚜',
      'x'.repeat(131_000),
    ];
    const script = 'process.stdout.write(JSON.stringify(process.argv.slice(1)))';
    const args = ['-e', script, '--', ...odd.map((_, arg) => ({ arg }))];
    const echo = harness.command({ file: process.execPath, args });
    expect(JSON.parse((await result(harness, echo, ...odd)).stdout)).toEqual(odd);
  });

  test('the program sees its own name, and the environment that was meant, and nothing else', async () => {
    const env = {
      PATH: process.env['PATH'] ?? '',
      PWD: '/stale',
      OLDPWD: '/older',
      IFS: 'x',
      _: 'under',
      'BASH_FUNC_module%%': '() {  echo module; }',
      'with.dot': '1',
      EMPTY: '',
      LINES: 'a\nb',
    };
    await using harness = aHarness({ env });
    const print = harness.command({
      file: process.execPath,
      args: ['-p', 'JSON.stringify([process.env, process.argv0])'],
      cwd: aDirectory(),
      env: [['OWN', 'é=é']],
    });
    // SAFE: it is what the command prints.
    const [seen, name] = JSON.parse((await result(harness, print)).stdout) as [
      Record<string, string>,
      string,
    ];
    const { FARM_REAPER: _, ...rest } = seen;
    const own = { FARM_KEY: 'task-1', FARM_ATTEMPT: '1', FARM_WORKER: 'w-1', OWN: 'é=é' };
    const granted = isEnclosed ? { FARM_RESOURCE_MEMORY: '500000000' } : {};
    expect(rest).toEqual({ ...env, ...own, ...granted });
    expect(name).toBe(process.execPath);
    const shell = harness.command({ file: 'sh', args: ['-c', 'tr "\\0" " " < /proc/$$/cmdline'] });
    expect((await result(harness, shell)).stdout).toMatch(/^sh -c /);
  });

  test('the variable PATH of the task decides where the program is found', async () => {
    const directory = aDirectory();
    for (const name of ['one', 'two']) {
      mkdirSync(join(directory, name));
      writeFileSync(join(directory, name, 'tool'), `#!/bin/sh\necho ${name}\n`);
      chmodSync(join(directory, name, 'tool'), 0o755);
    }
    await using harness = aHarness({ cwd: directory });
    const env = [['PATH', [directory, '/', { arg: 0 }, ':/usr/bin:/bin']]] as const;
    const tool = harness.command({ file: 'tool', env });
    expect((await result(harness, tool, 'one')).stdout).toBe('one\n');
    expect((await result(harness, tool, 'two')).stdout).toBe('two\n');
    rmSync(join(directory, 'two', 'tool'));
    expect((await harness.failure(tool, 'two')).message).toContain('"tool" was not found in PATH');
  });

  test.each([
    ['HUP', 1],
    ['INT', 2],
    ['KILL', 9],
    ['PIPE', 13],
    ['TERM', 15],
    ['USR1', 10],
  ])('ended by SIG%s and exit code 128 + %i are told apart', async (name, number) => {
    await using harness = aHarness();
    const dies = harness.command({ args: ['-c', `kill -${name} $$`] });
    const exits = harness.command({ args: ['-c', `exit ${128 + number}`] });
    expect(thrown(await harness.failure(dies))).toMatchObject({
      exitCode: null,
      signal: `SIG${name}`,
    });
    expect(thrown(await harness.failure(exits))).toMatchObject({
      exitCode: 128 + number,
      signal: null,
    });
  });

  test('signals are handled as they are at first, and none is blocked', async () => {
    await using harness = aHarness();
    const look = harness.command({ file: 'grep', args: ['^Sig[BI]', '/proc/self/status'] });
    const [blocked, ignored] = (await result(harness, look)).stdout
      .trim()
      .split('\n')
      .map((line) => Number.parseInt(line.slice(-8), 16));
    expect(blocked).toBe(0);
    // Above 31 are those that the C library uses itself.
    expect((ignored ?? -1) & 0x7fffffff).toBe(0);
  });

  test('it has a process group of its own, and no other open files than usual', async () => {
    await using harness = aHarness();
    // A pipe of the shell would be one of its files for a moment.
    const script = 'ps -o pgid= -p $$ | tr -d " "; echo $$; ls /proc/$$/fd; :';
    const look = harness.command({ args: ['-c', script] });
    const [group, pid, ...files] = (await result(harness, look)).stdout.trim().split('\n');
    expect(group).toBe(pid);
    // Whoever started this process may have left it some that every child inherits.
    const { stdout } = spawnSync('sh', ['-c', script], { encoding: 'utf8' });
    const inherited = stdout.split('\n').slice(2);
    const extra = files.filter((file) => !inherited.includes(file));
    expect(extra).toEqual([]);
  });

  test('what it leaves in the background is left alone, and does not keep the slot', async () => {
    const path = join(aDirectory(), 'pids');
    await using harness = aHarness();
    const script = 'sleep 1000 & echo $! > "$1"; echo up';
    const leave = harness.command({ args: ['-c', script, 'sh', path] });
    expect((await result(harness, leave)).stdout).toBe('up\n');
    const [left = 0] = pids(path);
    expect(isRunning(left)).toBe(true);
    process.kill(left, 'SIGKILL');
  });

  test('one that closes its outputs and goes on has not ended', async () => {
    await using harness = aHarness({ slots: 2, cwd: aDirectory() });
    const script = 'echo out; exec >&- 2>&-; while [ ! -e go ]; do sleep 0.01; done; exit 3';
    const goesOn = harness.start(harness.command({ args: ['-c', script] }), [], { slot: 0 });
    const go = harness.command({ args: ['-c', 'touch go'] });
    await harness.end(harness.start(go, [], { slot: 1 }));
    expect(thrown(await harness.failureOf(goesOn))).toMatchObject({ exitCode: 3, stdout: 'out\n' });
  });

  test('a directory that is made anew is the one it runs in', async () => {
    const cwd = join(aDirectory(), 'cwd');
    await using harness = aHarness();
    const list = harness.command({ file: 'ls', cwd });
    for (const name of ['one', 'two']) {
      mkdirSync(cwd);
      writeFileSync(join(cwd, name), '');
      expect((await result(harness, list)).stdout).toBe(`${name}\n`);
      rmSync(cwd, { recursive: true });
    }
    expect((await harness.failure(list)).message).toContain('does not exist');
  });

  test('two commands at a time are stopped one by one', async () => {
    await using harness = aHarness({ slots: 2 });
    const sleep = harness.command({ file: 'sleep', args: ['1000'] });
    const one = harness.start(sleep, [], { slot: 0 });
    const two = harness.start(sleep, [], { slot: 1 });
    await harness.executing(two);
    harness.executor.interrupt(0, one, cancelled());
    await harness.until(() => harness.emptied.length === 1, 'the first to be stopped');
    expect(harness.emptied[0]?.slot).toBe(0);
    expect(harness.executor.executing()).toEqual([two]);
  });

  test('commands end when the worker is killed', async () => {
    const directory = aDirectory();
    const program =
      `import { Harness } from ${JSON.stringify(HARNESS)};` +
      `const options = { cwd: ${JSON.stringify(directory)}, commandSpawner: '${commandSpawner}' };` +
      `const harness = new Harness(options);` +
      `const script = 'trap "" TERM; sleep 1000 & echo $$ $! | tr " " "\\\\n" > pids; wait; sleep 1000';` +
      `harness.start(harness.command({ args: ['-c', script] })); setInterval(() => {}, 1000);`;
    const worker = spawn(
      process.execPath,
      ['--conditions=@farm/source', '--input-type=module', `--eval=${program}`],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    const path = join(directory, 'pids');
    await using harness = new Harness();
    await harness.until(() => pids(path).length === 2, 'the processes');
    expect(pids(path).filter(isRunning)).toHaveLength(2);
    worker.kill('SIGKILL');
    await once(worker, 'exit');
    await harness.until(() => !pids(path).some(isRunning), 'the processes to end');
  });
});

describe('a spawner', () => {
  test('that is killed takes its command with it, and another one comes', async ({ skip }) => {
    if (!hasSpawner) skip('no usable Python');
    const path = join(aDirectory(), 'pids');
    await using harness = new Harness();
    const script = 'echo $$ > "$0.tmp"; mv "$0.tmp" "$0"; exec sleep 1000';
    const run = harness.start(harness.command({ args: ['-c', script, path] }));
    await harness.until(() => pids(path).length === 1, 'the command');
    const [spawner = 0] = spawners();
    // Its pid is known to the worker a few milliseconds after the start.
    await harness.until(() => hasLived(pids(path)[0] ?? 0), 'the command to have run a moment');
    process.kill(spawner, 'SIGKILL');
    const failure = await harness.failureOf(run);
    expect(failure.code).toBe('ERR_INTERNAL');
    expect(failure.message).toContain('was ended by signal SIGKILL; the command was killed');
    await harness.until(() => !pids(path).some(isRunning), 'the command to end');
    expect((await result(harness, harness.command({ file: 'true' }))).exitCode).toBe(0);
    expect(spawners()).not.toContain(spawner);
  });

  test('does not stay in the directory of its last command', async ({ skip }) => {
    if (!hasSpawner) skip('no usable Python');
    await using harness = new Harness({ cwd: aDirectory() });
    await result(harness, harness.command({ file: 'true' }));
    const [spawner = 0] = spawners();
    const directory = (): string => readlinkSync(`/proc/${spawner}/cwd`);
    await harness.until(() => directory() === '/', 'the spawner to leave the directory');
    expect(spawners()).toEqual([spawner]);
  });

  test('ends with its executor', async ({ skip }) => {
    if (!hasSpawner) skip('no usable Python');
    const harness = new Harness();
    await result(harness, harness.command({ file: 'true' }));
    const before = spawners();
    expect(before).toHaveLength(1);
    await harness.executor.close();
    await harness.until(() => !before.some(isRunning), 'the spawner to end');
  });

  test('is not there where Python is none, or an unusable one', async () => {
    const directory = aDirectory();
    writeFileSync(join(directory, 'python3'), '#!/bin/sh\nexit 1\n');
    chmodSync(join(directory, 'python3'), 0o755);
    for (const path of [join(directory, 'none'), directory]) {
      const pool = new SpawnerPool({ slots: 2, system: null, path });
      expect(await pool.get(0)).toBeUndefined();
      expect(await pool.get(1)).toBeUndefined();
      await pool.close();
    }
  });
});

/** Whether a process is older than a tenth of a second. */
function hasLived(pid: number): boolean {
  const after = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  const upSeconds = Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]);
  return upSeconds - Number(after[19]) / 100 > 0.1;
}

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

import { cancelled, Harness, thrown } from './executor-harness.ts';
import { aDirectory, isRunning, pids, result } from './command-harness.ts';

/** Prints its arguments as JSON. */
const ECHO = ['-e', 'process.stdout.write(JSON.stringify(process.argv.slice(1)))', '--'];

const HARNESS = new URL('./executor-harness.ts', import.meta.url).href;

describe('argv, environment and directory', () => {
  test('argv arrives byte for byte, whatever is in it', async () => {
    await using harness = new Harness();
    const odd = [
      'a b',
      '',
      `'"`,
      '$HOME `id` $(id)',
      'line\nbreak',
      '日本 🚜 e\u0301',
      '*',
      '\\',
      '-x',
    ];
    const echo = harness.command({
      file: process.execPath,
      args: [...ECHO, ...odd.map((_, arg) => ({ arg })), ['<', { arg: 0 }, '>', { arg: 6 }]],
    });
    const { stdout, stderr, exitCode, signal, durationMs } = await result(harness, echo, ...odd);
    expect(JSON.parse(stdout)).toEqual([...odd, '<a b>*']);
    expect({ stderr, exitCode, signal }).toEqual({ stderr: '', exitCode: 0, signal: null });
    expect(durationMs).toBeGreaterThan(0);
  });

  test('numbers, bigints and booleans become text', async () => {
    await using harness = new Harness();
    const args = [...ECHO, { arg: 0 }, { arg: 1 }, { arg: 2 }, { arg: 3 }];
    const echo = harness.command({ file: process.execPath, args });
    const { stdout } = await result(harness, echo, 0.5, 10n ** 20n, true, -3);
    expect(JSON.parse(stdout)).toEqual(['0.5', '100000000000000000000', 'true', '-3']);
  });

  test.each([
    ['null', null, 'null'],
    ['undefined', undefined, 'undefined'],
    ['an object', { a: 1 }, 'an object'],
    ['an array', ['a'], 'an array'],
    ['bytes', new Uint8Array(1), 'bytes'],
  ])('%s is refused, naming the slot', async (_what, value, text) => {
    await using harness = new Harness();
    const echo = harness.command({ file: 'echo', args: ['a', { arg: 0 }] });
    const failure = await harness.failure(echo, value);
    expect(failure).toMatchObject({ code: 'ERR_ARGUMENT', origin: 'task-1', worker: 'w-1' });
    expect(failure.message).toContain(`arg(0), in position 1 of its argv, is ${text}`);
  });

  test('an argument that is not there is refused', async () => {
    await using harness = new Harness();
    const failure = await harness.failure(harness.command({ cwd: { arg: 2 } }), 'x');
    expect(failure.code).toBe('ERR_ARGUMENT');
    expect(failure.message).toContain('arg(2), in its cwd, is not there: the task has 1 argument');
  });

  test('the environment is the worker’s, the task’s and the command’s', async () => {
    await using harness = new Harness({
      env: { PATH: process.env['PATH'] ?? '', JOB: '7', A: 'w' },
    });
    const env = harness.command({
      args: ['-c', 'echo $JOB,$A,$FARM_KEY,$FARM_ATTEMPT,$FARM_WORKER,$FARM_RESOURCE_GPU_A'],
      env: [['A', [{ arg: 0 }, '!']]],
    });
    const run = harness.start(env, ['c'], { key: 'k-1', attempt: 2, resources: [['gpu-a', 2]] });
    await harness.end(run);
    expect(harness.results.get(run)).toMatchObject({ stdout: '7,c!,k-1,2,w-1,2\n' });
  });

  test('two commands at a time have directories of their own', async () => {
    const base = aDirectory();
    for (const name of ['one', 'two']) mkdirSync(join(base, name));
    await using harness = new Harness({ slots: 2, cwd: base });
    const script =
      'pwd; touch here; while [ ! -e ../one/here ] || [ ! -e ../two/here ]; do :; done; pwd';
    const pwd = harness.command({ args: ['-c', script], cwd: { arg: 0 } });
    const one = harness.start(pwd, ['one'], { slot: 0 });
    const two = harness.start(pwd, [join(base, 'two')], { slot: 1 });
    await harness.end(one);
    await harness.end(two);
    for (const [run, name] of [
      [one, 'one'],
      [two, 'two'],
    ] as const) {
      const path = join(base, name);
      expect(harness.results.get(run)).toMatchObject({ stdout: `${path}\n${path}\n` });
    }
  });

  test('stdin gets its text, and is empty otherwise', async () => {
    await using harness = new Harness();
    const cat = harness.command({ file: 'cat', stdin: ['<', { arg: 0 }, '>'] });
    const text = 'é'.repeat(200_000);
    expect((await result(harness, cat, text)).stdout).toBe(`<${text}>`);
    expect((await result(harness, harness.command({ file: 'cat' }))).stdout).toBe('');
    const deaf = harness.command({ file: 'true', stdin: { arg: 0 } });
    expect((await result(harness, deaf, text)).exitCode).toBe(0);
  });
});

describe('ends', () => {
  test('an exit code that is not accepted is a failure with all there is to know', async () => {
    await using harness = new Harness();
    const fails = harness.command({
      name: 'solve',
      args: ['-c', 'echo out; echo first >&2; echo "no mesh" >&2; exit 3', 'sh', { arg: 0 }],
    });
    const failure = await harness.failure(fails, 'x');
    expect(failure).toMatchObject({ code: 'ERR_COMMAND', origin: 'task-1', worker: 'w-1' });
    expect(failure.message).toContain('command solve exited with code 3');
    expect(failure.message).toContain('no mesh');
    const error = thrown(failure);
    expect(error).toMatchObject({
      name: 'CommandError',
      exitCode: 3,
      signal: null,
      stdout: 'out\n',
      stderr: 'first\nno mesh\n',
      file: '/bin/sh',
      args: ['-c', expect.any(String), 'sh', 'x'],
      cwd: process.cwd(),
    });
    expect((await result(harness, harness.command({ file: 'true' }))).exitCode).toBe(0);
  });

  test('accepted exit codes are results', async () => {
    await using harness = new Harness();
    const grep = harness.command({
      args: ['-c', 'exit $1', 'sh', { arg: 0 }],
      acceptExitCodes: [1, 4],
    });
    expect(await result(harness, grep, 4)).toMatchObject({ exitCode: 4, signal: null });
    expect((await harness.failure(grep, 0)).code).toBe('ERR_COMMAND');
  });

  test.each(['SIGKILL', 'SIGSEGV', 'SIGTERM', 'SIGABRT'])(
    '%s is a failure that names it',
    async (signal) => {
      await using harness = new Harness();
      const dies = harness.command({ args: ['-c', `kill -${signal.slice(3)} $$`] });
      const failure = await harness.failure(dies);
      expect(failure.code).toBe('ERR_COMMAND');
      expect(failure.message).toContain(`was ended by signal ${signal}`);
      expect(thrown(failure)).toMatchObject({ exitCode: null, signal });
    },
  );

  test('several commands given to a slot run in order, one at a time', async () => {
    const directory = aDirectory();
    await using harness = new Harness({ cwd: directory });
    const script = '[ ! -e busy ] || exit 9; touch busy; echo $1 >> order; rm busy';
    const step = harness.command({ args: ['-c', script, 'sh', { arg: 0 }] });
    const runs = [1, 2, 3, 4].map((number) => harness.aRun([number]));
    harness.executor.execute(0, step, runs);
    expect(harness.executor.withdraw(0, [runs[2]?.run ?? 0, 99])).toEqual({
      withdrawn: [runs[2]?.run],
      started: [99],
    });
    await harness.end(runs[3]?.run ?? 0);
    expect(readFileSync(join(directory, 'order'), 'utf8')).toBe('1\n2\n4\n');
  });
});

describe('output', () => {
  test('100 MB of output is kept to its beginning and end', async () => {
    await using harness = new Harness();
    const script = 'echo BEGIN; head -c 100000000 /dev/zero | tr "\\0" x; echo; echo END';
    const loud = harness.command({ args: ['-c', script], captureBytesMax: 10_000 });
    const { stdout } = await result(harness, loud);
    expect(stdout.length).toBeLessThan(10_100);
    expect(stdout).toMatch(
      /^BEGIN\nx{4994}\n\[\d+ bytes of output dropped here\]\nx{4995}\nEND\n$/,
    );
    const dropped = Number(/\[(\d+) bytes/.exec(stdout)?.[1]);
    expect(dropped).toBe(100_000_000 + 6 + 5 - 10_000);
  });

  test('a cut does not go through a character, and invalid text does not matter', async () => {
    await using harness = new Harness();
    const wide = harness.command({
      args: ['-c', 'i=0; while [ $i -lt 500 ]; do printf "日🚜"; i=$((i+1)); done'],
      captureBytesMax: 101,
    });
    const { stdout } = await result(harness, wide);
    expect(stdout).not.toContain('\ufffd');
    expect(stdout).toContain('bytes of output dropped here');
    const binary = harness.command({ args: ['-c', 'printf "a\\377b"'] });
    expect((await result(harness, binary)).stdout).toBe('a\ufffdb');
    const none = harness.command({ args: ['-c', 'echo hello'], captureBytesMax: 0 });
    expect((await result(harness, none)).stdout).toBe('\n[6 bytes of output dropped here]\n');
  });

  test('a file is truncated or appended to, relative to the directory of the command', async () => {
    const directory = aDirectory();
    await using harness = new Harness();
    const base = { args: ['-c', 'echo $1', 'sh', { arg: 0 }], cwd: directory };
    const path = ['out-', { arg: 0 }, '.log'];
    const write = harness.command({ ...base, stdout: { to: 'file', path, append: false } });
    const append = harness.command({ ...base, stdout: { to: 'file', path, append: true } });
    for (const fn of [write, write, append]) {
      expect(await result(harness, fn, 'a')).toMatchObject({ stdout: '', stderr: '' });
    }
    expect(readFileSync(join(directory, 'out-a.log'), 'utf8')).toBe('a\na\n');
  });

  test('stdout and stderr may share a file', async () => {
    const directory = aDirectory();
    await using harness = new Harness();
    const to = { to: 'file', path: 'both.log', append: false } as const;
    const args = ['-c', 'echo 1; echo 2 >&2; echo 3'];
    await result(harness, harness.command({ args, cwd: directory, stdout: to, stderr: to }));
    expect(readFileSync(join(directory, 'both.log'), 'utf8')).toBe('1\n2\n3\n');
  });

  test('ignored output is gone', async () => {
    await using harness = new Harness();
    const quiet = harness.command({ args: ['-c', 'echo 1'], stdout: { to: 'ignore' } });
    expect((await result(harness, quiet)).stdout).toBe('');
  });

  test.each([
    ['in a directory that is missing', 'none/out.log', 'ENOENT'],
    ['that is a directory', '.', 'EISDIR'],
  ])('an output file %s is named', async (_what, path, code) => {
    const directory = aDirectory();
    await using harness = new Harness();
    const lost = harness.command({ cwd: directory, stderr: { to: 'file', path, append: false } });
    const failure = await harness.failure(lost);
    expect(failure.code).toBe('ERR_SPAWN');
    expect(failure.message).toContain(`the file for its stderr, ${join(directory, path)}`);
    expect(failure.message).toContain(code);
  });

  test('a daemon that keeps the pipes open does not keep the slot', async () => {
    const directory = aDirectory();
    await using harness = new Harness({ cwd: directory });
    const script =
      'echo up; (setsid sh -c "echo \\$\\$ > pid; exec sleep 1000" &) ; while [ ! -s pid ]; do :; done';
    const { stdout } = await result(harness, harness.command({ args: ['-c', script] }));
    expect(stdout).toBe('up\n');
    const [daemon = 0] = pids(join(directory, 'pid'));
    expect(isRunning(daemon)).toBe(true);
    process.kill(daemon, 'SIGKILL');
  });
});

describe('commands that cannot start', () => {
  test.each([
    ['not found in PATH', { file: 'no-such-program' }, /"no-such-program" was not found in PATH/],
    ['a path that does not exist', { file: './none.sh' }, /"\.\/none\.sh" does not exist/],
    ['a directory', { file: '/tmp' }, /"\/tmp" is not executable/],
    ['a file without the permission', { file: './plain' }, /"\.\/plain" is not executable/],
    [
      'an interpreter that is missing',
      { file: './lost.sh' },
      /interpreter .* "\.\/lost\.sh" names/,
    ],
    ['a cwd that is missing', { file: 'true', cwd: 'gone' }, /directory ".*\/gone" does not exist/],
    ['a cwd that is a file', { file: 'true', cwd: 'plain' }, /".*\/plain" is not a directory/],
    ['no name', { file: '' }, /name of its program is empty/],
    ['a NUL in argv', { file: 'true', args: ['a', 'b\0c'] }, /position 1 of its argv has a NUL/],
    ['too long an argv', { file: 'true', args: ['x'.repeat(3_000_000)] }, /3000006 bytes .*E2BIG/],
  ])('%s', async (_what, fields, message) => {
    const directory = aDirectory();
    writeFileSync(join(directory, 'plain'), 'text');
    writeFileSync(join(directory, 'lost.sh'), '#!/nowhere/sh\n');
    chmodSync(join(directory, 'lost.sh'), 0o755);
    await using harness = new Harness({ cwd: directory });
    const failure = await harness.failure(harness.command({ name: 'solve', ...fields }));
    expect(failure).toMatchObject({ code: 'ERR_SPAWN', origin: 'task-1', worker: 'w-1' });
    expect(failure.message).toContain('command solve could not be started');
    expect(failure.message).toMatch(message);
    expect(failure.message).toContain(`cwd ${directory}`);
    expect((await result(harness, harness.command({ file: 'true' }))).exitCode).toBe(0);
  });

  test('a script without a first line for its interpreter runs with the shell', async () => {
    const directory = aDirectory();
    writeFileSync(join(directory, 'plain.sh'), 'echo "$@"');
    chmodSync(join(directory, 'plain.sh'), 0o755);
    await using harness = new Harness({ cwd: directory });
    const plain = harness.command({ file: './plain.sh', args: ['a b', 'c'] });
    expect((await result(harness, plain)).stdout).toBe('a b c\n');
  });
});

describe('interrupts', () => {
  test('the whole process group is gone before the slot is free', async () => {
    const directory = aDirectory();
    await using harness = new Harness({ cwd: directory });
    const script =
      'sleep 1000 & echo $! > pids; sh -c "sleep 1000" & echo $! >> pids; echo $$ >> pids; wait';
    const family = harness.command({ args: ['-c', script] });
    const run = harness.start(family);
    const behind = harness.start(family);
    const path = join(directory, 'pids');
    await harness.until(() => pids(path).length === 3, 'the processes');
    expect(harness.executor.executing()).toEqual([run]);
    expect(harness.executor.interrupt(0, behind, cancelled())).toBe(false);
    expect(harness.executor.interrupt(0, run, cancelled())).toBe(true);
    await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');
    expect(harness.emptied).toEqual([
      { slot: 0, failed: { run, failure: cancelled() }, unstarted: [behind] },
    ]);
    expect(pids(path).filter(isRunning)).toEqual([]);
  });

  test('what ignores SIGTERM is killed after the grace period', async () => {
    const directory = aDirectory();
    await using harness = new Harness({ cwd: directory });
    const script = 'trap "echo asked >> log" TERM; echo $$ > pids; while :; do sleep 0.05; done';
    const run = harness.start(harness.command({ args: ['-c', script] }));
    const path = join(directory, 'pids');
    await harness.until(() => pids(path).length === 1, 'the process');
    expect(harness.executor.interrupt(0, run, cancelled())).toBe(true);
    await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');
    expect(readFileSync(join(directory, 'log'), 'utf8')).toBe('asked\n');
    expect(pids(path).filter(isRunning)).toEqual([]);
  });

  test('a time limit ends the command', async () => {
    await using harness = new Harness();
    const sleep = harness.command({ file: 'sleep', args: ['1000'] });
    const run = harness.start(sleep, [], { timeoutMs: 100 });
    const failure = await harness.failureOf(run);
    expect(failure).toMatchObject({ code: 'ERR_TASK_TIMEOUT', origin: 'task-1' });
    expect(failure.message).toContain('timeoutMs = 100');
    expect((await result(harness, harness.command({ file: 'true' }))).exitCode).toBe(0);
  });

  test('an interrupt right after the start leaves nothing behind', async () => {
    await using harness = new Harness();
    const sleep = harness.command({ file: 'sleep', args: ['1000'], stdin: '' });
    const run = harness.start(sleep);
    expect(harness.executor.interrupt(0, run, cancelled())).toBe(true);
    await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');
    expect(harness.emptied[0]?.failed?.run).toBe(run);
  });

  test('closing the executor ends running commands', async () => {
    const directory = aDirectory();
    const harness = new Harness({ cwd: directory });
    harness.start(harness.command({ args: ['-c', 'echo $$ > pids; sleep 1000'] }));
    const path = join(directory, 'pids');
    await harness.until(() => pids(path).length === 1, 'the process');
    await harness.executor.close();
    await harness.executor.close();
    expect(pids(path).filter(isRunning)).toEqual([]);
    expect(harness.emptied).toEqual([]);
  });

  test.runIf(process.platform === 'linux')(
    'a command ends whose worker is killed before it knows the process',
    async () => {
      const path = join(aDirectory(), 'pids');
      const reaper = new URL('../../src/shell/executors/commands/group-reaper.ts', import.meta.url)
        .href;
      const program =
        `import { spawn } from 'node:child_process'; import { existsSync } from 'node:fs';` +
        `import { GroupReaper } from ${JSON.stringify(reaper)};` +
        `const env = { ...process.env, ...new GroupReaper(() => {}).starting() };` +
        `const script = 'echo $$ > "$0.tmp" && echo $$ >> "$0.tmp" && mv "$0.tmp" "$0"; exec sleep 1000';` +
        `const args = ['-c', script, ${JSON.stringify(path)}];` +
        `spawn('/bin/sh', args, { env, detached: true, stdio: 'ignore' });` +
        `while (!existsSync(args[2])); process.kill(process.pid, 'SIGKILL');`;
      const worker = spawn(
        process.execPath,
        ['--conditions=@farm/source', '--input-type=module', `--eval=${program}`],
        { stdio: ['ignore', 'ignore', 'inherit'] },
      );
      await once(worker, 'exit');
      await using harness = new Harness();
      expect(pids(path)).toHaveLength(2);
      await harness.until(() => !pids(path).some(isRunning), 'the command to end');
    },
  );

  test('commands end when the worker is killed', async () => {
    const directory = aDirectory();
    const program =
      `import { Harness } from ${JSON.stringify(HARNESS)};` +
      `const harness = new Harness({ cwd: ${JSON.stringify(directory)}, slots: 2 });` +
      `const family = harness.command({ args: ['-c', 'sleep 1000 & echo $$ $! | tr " " "\\\\n" > pids; wait'] });` +
      `await harness.call(harness.command({ args: ['-c', 'true'] }));` +
      `harness.start(family); setInterval(() => {}, 1000);`;
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

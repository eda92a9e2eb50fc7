/** What whatever runs functions has to do: one suite for threads and processes. */
import type { FunctionExecutor } from '@farm/protocol';
import { encodeValue, FUTURE } from '@farm/protocol/value';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';

import type { TaskContext } from '../../src/index.ts';
import { cancelled, Harness, thrown } from './executor-harness.ts';
import { aDirectory } from './command-harness.ts';

declare const taskContext: () => TaskContext;

const EXECUTORS: readonly FunctionExecutor[] = ['threads', 'processes'];

describe.each(EXECUTORS)('functions in %s', (functionsIn) => {
  const aHarness = (options: ConstructorParameters<typeof Harness>[0] = {}): Harness =>
    new Harness({ functionsIn, ...options });

  const source = (harness: Harness, text: string): number =>
    harness.define('f', { kind: 'source', name: 'f', source: text });

  test('get their arguments, and their results come back', async () => {
    await using harness = aHarness();
    const add = harness.source((a: number, b: { c: number }) => a + b.c);
    expect(await harness.call(add, 40, { c: 2 })).toBe(42);
    expect(harness.durationsUs.get(1)).toBeGreaterThan(0);
  });

  test('tell their processor time, but for those that share a batch in a thread', async ({
    skip,
  }) => {
    if (process.threadCpuUsage === undefined) skip('this Node does not tell that of a thread');
    await using harness = aHarness();
    const work = harness.source((us: number) => {
      const used = (): number => {
        const usage = process.threadCpuUsage?.();
        return usage === undefined ? NaN : usage.user + usage.system;
      };
      const startedUs = used();
      while (used() - startedUs < us);
    });
    const busy = harness.start(work, [50_000]);
    await harness.end(busy);
    // It is told in units of 10 µs.
    expect(harness.cpuUs.get(busy)).toBeGreaterThanOrEqual(49_990);
    const wait = harness.source(async (ms: number) => {
      await new Promise((resolve) => setTimeout(resolve, ms));
    });
    const idle = harness.start(wait, [200]);
    await harness.end(idle);
    expect(harness.cpuUs.get(idle)).toBeLessThan(harness.durationsUs.get(idle) ?? 0);
    const batch = [harness.aRun([0]), harness.aRun([0])];
    harness.executor.execute(0, work, batch);
    for (const { run } of batch) await harness.end(run);
    const measured = batch.filter(({ run }) => harness.cpuUs.has(run)).length;
    expect(measured).toBe(functionsIn === 'threads' ? 0 : 2);
  });

  test('find inputs in the place of references', async () => {
    await using harness = aHarness();
    const { bytes } = encodeValue([[{ [FUTURE]: true }], 1]);
    const sum = harness.source((list: Float64Array[], one: number) => [
      (list[0] ?? new Float64Array()).reduce((a, b) => a + b, one),
    ]);
    const inputs = [encodeValue(new Float64Array(300_000).fill(2)).bytes];
    const run = harness.start(sum, [], { args: bytes, inputs });
    await harness.end(run);
    expect(harness.results.get(run)).toEqual([600_001]);
  });

  test('answer with 20 MB, whole', async () => {
    await using harness = aHarness();
    const big = harness.source(() => new Uint8Array(20_000_000).fill(7));
    const result = await harness.call(big);
    expect(result instanceof Uint8Array && result.every((byte) => byte === 7)).toBe(true);
  });

  test('keep modules and functions loaded from run to run', async () => {
    await using harness = aHarness();
    const path = join(aDirectory(), 'tasks.mjs');
    writeFileSync(path, 'let calls = 0; export const count = (x) => [x, ++calls];');
    const url = pathToFileURL(path).href;
    const spec = { kind: 'module', name: 'count', url, exportName: 'count' } as const;
    const count = harness.define('count', spec);
    expect(await harness.call(count, 'a')).toEqual(['a', 1]);
    expect(await harness.call(count, 'b')).toEqual(['b', 2]);
  });

  test('run in the order given, one at a time, each to one end', async () => {
    await using harness = aHarness();
    const later = harness.source(async (x: number) => {
      if (x % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
      return x;
    });
    const runs = Array.from({ length: 200 }, (_, index) => harness.aRun([index]));
    harness.executor.execute(0, later, runs);
    await harness.until(() => harness.results.size === runs.length, 'all results');
    expect(harness.order).toEqual(runs.map(({ run }) => run));
  });

  test('in one slot do not delay those of another', async () => {
    await using harness = aHarness({ slots: 2 });
    const spin = harness.source(() => {
      for (;;);
    });
    const wait = harness.source(async () => {
      for (let turn = 0; turn < 5; turn++) await new Promise((go) => setTimeout(go, 2));
      return 'awaited';
    });
    const spinning = harness.start(spin, [], { slot: 0 });
    await harness.executing(spinning);
    const waiting = harness.start(wait, [], { slot: 1 });
    await harness.end(waiting);
    expect(harness.results.get(waiting)).toBe('awaited');
    expect(harness.executor.executing()).toEqual([spinning]);
  });

  test('are taken back as long as they have not started', async () => {
    await using harness = aHarness();
    const wait = harness.source(() => new Promise(() => {}));
    const runs = Array.from({ length: 100 }, () => harness.aRun([]));
    harness.executor.execute(0, wait, runs);
    const [first = 0, ...rest] = runs.map(({ run }) => run);
    await harness.executing(first);
    const answer = harness.executor.withdraw(0, [first, ...rest]);
    expect(answer).toEqual({ withdrawn: rest, started: [first] });
  });

  test('what they print arrives in whole lines', async () => {
    await using harness = aHarness();
    const chatty = harness.source((who: string) => {
      console.log('hello', who);
      process.stdout.write('no newline');
      console.error('oops');
    });
    await harness.call(chatty, 'you');
    await harness.until(() => harness.output.stdout.includes('no newline\n'), 'the last line');
    await harness.until(() => harness.output.stderr.includes('oops\n'), 'the other stream');
    expect(harness.output.stdout).toBe('hello you\nno newline\n');
  });

  describe('their context', () => {
    test('tells key, worker, slot, attempt and resources, also after an await', async () => {
      await using harness = aHarness();
      const look = harness.source(async () => {
        await new Promise((resolve) => setTimeout(resolve, 1));
        const { key, worker, slot, attempt, resources } = taskContext();
        return { key, worker, slot, attempt, resources };
      });
      const run = harness.start(look, [], { key: 'k', attempt: 3, resources: [['GPU', 2]] });
      await harness.end(run);
      expect(harness.results.get(run)).toEqual({
        key: 'k',
        worker: 'w-1',
        slot: 0,
        attempt: 3,
        resources: [['GPU', 2]],
      });
    });

    test('logs lines and progress under the key', async () => {
      await using harness = aHarness();
      const talk = harness.source(() => {
        taskContext().log('at', { step: 1 });
        taskContext().progress(0.5, 'half');
        taskContext().progress(1);
      });
      await harness.call(talk);
      await harness.until(() => harness.output.stderr.includes('100 %'), 'the last line');
      expect(harness.output.stderr).toBe(
        'task-1: at { step: 1 }\ntask-1: 50 % half\ntask-1: 100 %\n',
      );
    });

    test('is not there between runs', async () => {
      await using harness = aHarness();
      const late = harness.source(() => {
        const key = Symbol.for('farm.task');
        return (
          Object.getOwnPropertyDescriptor(globalThis, key)?.get?.call(globalThis) === undefined
        );
      });
      expect(await harness.call(late)).toBe(false);
    });
  });

  describe('that are cancelled', () => {
    test('get a signal, and may clean up and end; the slot stays warm', async () => {
      await using harness = aHarness();
      const path = join(aDirectory(), 'cleaned');
      const polite = harness.source(async (file: string) => {
        const { signal } = taskContext();
        Object.assign(globalThis, { isWarm: true });
        await new Promise((_, reject) => {
          console.log('listening');
          signal.addEventListener('abort', () => reject(signal.reason));
        }).catch(async (reason: { code: string }) => {
          const fs = process.getBuiltinModule('node:fs');
          await new Promise((resolve) => setTimeout(resolve, 20));
          fs.writeFileSync(file, reason.code);
          throw Object.assign(new Error('cleaned'), { reason });
        });
      });
      const run = harness.start(polite, [path]);
      const behind = harness.start(harness.source(() => 'isWarm' in globalThis));
      await harness.until(() => harness.output.stdout.includes('listening'), 'it to listen');
      expect(harness.executor.interrupt(0, run, cancelled())).toBe(true);
      expect(harness.executor.interrupt(0, run, cancelled())).toBe(true);
      expect(await harness.failureOf(run)).toEqual(cancelled());
      expect(readFileSync(path, 'utf8')).toBe('ERR_CANCELLED');
      await harness.end(behind);
      expect(harness.results.get(behind)).toBe(true);
      expect(harness.emptied).toEqual([]);
    });

    test.each([
      [
        'takes the signal and goes on',
        'async () => { taskContext().signal; L; await new Promise(() => {}); }',
      ],
      ['takes the signal and blocks', '() => { taskContext().signal; L; for (;;); }'],
      ['never looks at the signal', '() => { L; for (;;); }'],
      ['waits for ever', '() => { L; return new Promise(() => {}); }'],
    ])('one that %s is terminated, what waits behind it is given back', async (_what, text) => {
      await using harness = aHarness();
      const stuck = source(harness, text.replace('L;', 'console.log("on");'));
      const fine = harness.source(() => 'fine');
      const run = harness.start(stuck);
      const behind = harness.start(fine);
      await harness.until(() => harness.output.stdout.includes('on\n'), 'it to be on');
      expect(harness.executor.interrupt(0, behind, cancelled())).toBe(false);
      expect(harness.executor.interrupt(0, run, cancelled())).toBe(true);
      await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');
      expect(harness.emptied).toEqual([
        { slot: 0, failed: { run, failure: cancelled() }, unstarted: [behind] },
      ]);
      expect(harness.executor.executing()).toEqual([]);
      expect(await harness.call(fine)).toBe('fine');
    });

    test('one that ends in time with a result has not ended with it', async () => {
      await using harness = aHarness();
      const partial = harness.source(async () => {
        const { signal } = taskContext();
        console.log('on');
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        return 'half of it';
      });
      const run = harness.start(partial);
      await harness.until(() => harness.output.stdout.includes('on\n'), 'it to be on');
      harness.executor.interrupt(0, run, cancelled());
      expect((await harness.failureOf(run)).code).toBe('ERR_CANCELLED');
      expect(harness.results.has(run)).toBe(false);
    });
  });

  test('a time limit reaches them by their signal, with its reason', async () => {
    await using harness = aHarness();
    const slow = harness.source(async () => {
      const { signal } = taskContext();
      await new Promise((resolve) => signal.addEventListener('abort', resolve));
      // SAFE: the reason is a FarmError.
      const { code, message } = signal.reason as { code: string; message: string };
      console.log(code, message);
    });
    const failure = await harness.failureOf(harness.start(slow, [], { timeoutMs: 100 }));
    expect(failure).toMatchObject({ code: 'ERR_TASK_TIMEOUT', origin: 'task-1', worker: 'w-1' });
    await harness.until(() => harness.output.stdout !== '', 'its last words');
    expect(harness.output.stdout).toBe(
      'ERR_TASK_TIMEOUT task-1: ran longer than timeoutMs = 100\n',
    );
    const spin = harness.source(() => {
      for (;;);
    });
    const stuck = await harness.failureOf(harness.start(spin, [], { timeoutMs: 100 }));
    expect(stuck.code).toBe('ERR_TASK_TIMEOUT');
    expect(harness.emptied).toHaveLength(1);
  });

  describe('that wait for others', () => {
    /** Waits for a file to appear, without its slot. */
    const WAIT = `async (path, options = {}) => {
      const { existsSync } = process.getBuiltinModule('node:fs');
      const { signal } = options.isDeaf ? {} : taskContext();
      taskContext().secede();
      taskContext().secede();
      while (!existsSync(path)) {
        await new Promise((go) => setTimeout(go, 5));
        signal?.throwIfAborted();
      }
      return taskContext().key;
    }`;

    test('leave their slot to the next one, and end without it', async () => {
      await using harness = aHarness();
      const path = join(aDirectory(), 'go');
      const parents = [1, 2, 3].map(() => harness.start(source(harness, WAIT), [path]));
      const child = harness.start(source(harness, '() => "child"'));
      await harness.end(child);
      await harness.until(() => harness.seceded.length === 3, 'all to wait');
      expect(harness.seceded).toEqual(parents);
      expect(harness.executor.executing()).toEqual(parents);
      writeFileSync(path, '');
      for (const run of parents) await harness.end(run);
      expect(parents.map((run) => harness.results.get(run))).toEqual([
        'task-1',
        'task-2',
        'task-3',
      ]);
      expect(harness.executor.executing()).toEqual([]);
      expect(harness.emptied).toEqual([]);
      await harness.call(source(harness, '() => "fine"'));
    });

    test('may fail without their slot', async () => {
      await using harness = aHarness();
      const fails = source(
        harness,
        `async () => {
          taskContext().secede();
          await new Promise((go) => setTimeout(go, 5));
          throw new Error('too bad');
        }`,
      );
      expect((await harness.failure(fails)).message).toContain('too bad');
      expect(harness.seceded).toHaveLength(1);
    });

    test('are cancelled alone', async () => {
      await using harness = aHarness();
      const path = join(aDirectory(), 'go');
      const wait = source(harness, WAIT);
      const [one, two, deaf] = [[path], [path], [path, { isDeaf: true }]].map((args) =>
        harness.start(wait, args),
      ) as [number, number, number]; // SAFE: there are three.
      const child = harness.start(source(harness, '() => new Promise(() => {})'));
      await harness.until(() => harness.seceded.length === 3, 'all to wait');
      await harness.executing(child);
      expect(harness.executor.interrupt(0, one, cancelled())).toBe(true);
      expect(await harness.failureOf(one)).toEqual(cancelled());
      expect(harness.executor.interrupt(0, deaf, cancelled())).toBe(true);
      expect(await harness.failureOf(deaf)).toEqual(cancelled());
      expect(harness.executor.executing()).toEqual([child, two]);
      expect(harness.emptied).toEqual([]);
      writeFileSync(path, '');
      await harness.end(two);
      expect(harness.results.get(two)).toBe('task-2');
    });

    test('keep their time limit', async () => {
      await using harness = aHarness();
      const path = join(aDirectory(), 'go');
      const limited = harness.start(source(harness, WAIT), [path], { timeoutMs: 200 });
      expect((await harness.failureOf(limited)).code).toBe('ERR_TASK_TIMEOUT');
      expect(harness.seceded).toEqual([limited]);
    });

    test('fail with the thread or process that another task ends', async () => {
      await using harness = aHarness();
      const path = join(aDirectory(), 'go');
      const parent = harness.start(source(harness, WAIT), [path]);
      const child = harness.start(source(harness, '() => process.exit(3)'));
      expect((await harness.failureOf(child)).message).toContain('exit code 3');
      const failure = await harness.failureOf(parent);
      expect(failure.code).toBe('ERR_WORKER_CRASH');
      expect(failure.message).toMatch(/it waited in ended, with another task/);
      expect(harness.executor.executing()).toEqual([]);
      expect(await harness.call(source(harness, '() => "fine"'))).toBe('fine');
    });

    test('and then block are terminated when they are cancelled', async () => {
      await using harness = aHarness();
      const blocks = source(
        harness,
        `async () => {
          taskContext().secede();
          await new Promise((go) => setTimeout(go, 20));
          console.log('blocking');
          for (;;);
        }`,
      );
      const run = harness.start(blocks);
      await harness.until(() => harness.output.stdout.includes('blocking'), 'it to block');
      expect(harness.executor.interrupt(0, run, cancelled())).toBe(true);
      expect(await harness.failureOf(run)).toEqual(cancelled());
      expect(await harness.call(source(harness, '() => "fine"'))).toBe('fine');
    });
  });

  describe('that misbehave', () => {
    /** The next task on the slot finds everything as it is to be. */
    const expectClean = async (harness: Harness): Promise<void> => {
      expect(await harness.call(harness.source(() => 'fine'))).toBe('fine');
    };

    test('process.exit fails the task and names the exit code', async () => {
      await using harness = aHarness();
      const failure = await harness.failure(source(harness, '() => { process.exit(3); }'));
      expect(failure).toMatchObject({ code: 'ERR_WORKER_CRASH', origin: 'task-1', worker: 'w-1' });
      expect(failure.message).toContain('exit code 3, as by process.exit(3)');
      await expectClean(harness);
    });

    test('an exception in a callback fails the task whose callback it is', async () => {
      await using harness = aHarness();
      const trap = source(
        harness,
        `() => new Promise(() => setTimeout(() => { throw new TypeError('astray'); }, 5))`,
      );
      const failure = await harness.failure(trap);
      expect(failure.code).toBe('ERR_WORKER_CRASH');
      expect(failure.message).toContain('uncaught TypeError: astray');
      expect(thrown(failure)).toMatchObject({ name: 'TypeError', message: 'astray' });
      await expectClean(harness);
    });

    test.each([
      ['throws', 'throw new Error("from the grave")', 'from the grave'],
      ['exits', 'process.exit(7)', 'exit code 7'],
    ])('a timer left behind that %s hurts no later task', async (_what, deed, text) => {
      await using harness = aHarness();
      const leave = source(harness, `() => { setTimeout(() => { ${deed}; }, 30); return 1; }`);
      const wait = source(harness, '(ms) => new Promise((go) => setTimeout(go, ms, "unharmed"))');
      const left = harness.start(leave);
      const next = harness.start(wait, [150]);
      await harness.end(left);
      await harness.end(next);
      expect(harness.results.get(next)).toBe('unharmed');
      await harness.until(() => harness.output.stderr.includes(text), 'the log line');
      expect(harness.output.stderr).toContain('task task-1, which has ended');
      await harness.until(
        () => /ended between runs|is replaced/.test(harness.output.stderr),
        'the slot to be renewed',
      );
      await expectClean(harness);
    });

    test('an unhandled rejection is logged under the key of its task', async () => {
      await using harness = aHarness();
      const careless = source(
        harness,
        '() => { setTimeout(() => { Promise.reject(new Error("nobody cares")); }, 10); return 1; }',
      );
      expect(await harness.call(careless)).toBe(1);
      await harness.until(() => harness.output.stderr.includes('nobody cares'), 'the log line');
      expect(harness.output.stderr).toContain('unhandled rejection in task task-1');
      expect(harness.emptied).toEqual([]);
      await expectClean(harness);
    });

    test('a changed environment is put back', async () => {
      await using harness = aHarness();
      const spoil = source(
        harness,
        `(path) => {
          process.env.FARM_TEST_NEW = 'x';
          process.env.PATH = '/nowhere';
          delete process.env.HOME;
          return [process.env.FARM_TEST_NEW, process.env.PATH, 'HOME' in process.env];
        }`,
      );
      const look = source(
        harness,
        '() => [process.env.FARM_TEST_NEW, process.env.PATH, process.env.HOME]',
      );
      expect(await harness.call(spoil)).toEqual(['x', '/nowhere', false]);
      const replace = source(harness, '() => { process.env = { A: "b" }; return process.env; }');
      expect(await harness.call(replace)).toEqual({ A: 'b' });
      const { PATH } = process.env;
      expect(await harness.call(source(harness, '() => process.env'))).toMatchObject({ PATH });
      expect(await harness.call(look)).toEqual([
        undefined,
        process.env['PATH'],
        process.env['HOME'],
      ]);
    });

    test('a changed directory is put back, or cannot be changed', async () => {
      await using harness = aHarness();
      const move = source(harness, '() => { process.chdir("/"); return process.cwd(); }');
      const where = source(harness, '() => process.cwd()');
      if (functionsIn === 'threads') {
        expect((await harness.failure(move)).message).toContain('chdir() is not supported');
      } else expect(await harness.call(move)).toBe('/');
      expect(await harness.call(where)).toBe(process.cwd());
    });

    test('endless recursion fails with what the engine says, at any depth', async () => {
      await using harness = aHarness();
      const recurse = source(harness, 'function f(n) { return f(n + 1) + 1; }');
      const failure = await harness.failure(recurse, 0);
      expect(failure.code).toBe('ERR_TASK');
      expect(failure.message).toContain('Maximum call stack size exceeded');
      expect(harness.emptied).toEqual([]);
      await expectClean(harness);
    });

    test.each([
      ['an array', '() => new Uint8Array(300_000)'],
      ['an array of its own memory', '() => taskContext().resultArray(Uint8Array, 300_000)'],
      ['many small values', 'async () => Array.from({ length: 100_000 }, (_, i) => "item " + i)'],
    ])('%s that is too large for the worker is refused, with the limit', async (_what, text) => {
      await using harness = aHarness({ resultBytesMax: 200_000 });
      const failure = await harness.failure(source(harness, text));
      expect(failure.code).toBe('ERR_RESULT');
      expect(failure.message).toMatch(
        /^task-1: the result.*: takes more than 195\.31 kiB, the memory limit of worker w-1: return/,
      );
      expect(await harness.call(source(harness, '() => new Uint8Array(190_000).length'))).toBe(
        190_000,
      );
      const fits = await harness.call(source(harness, '() => new Uint8Array(190_000)'));
      expect(fits).toHaveLength(190_000);
      await expectClean(harness);
    });

    test('a heap that is full fails the task and names the cause', async () => {
      await using harness = aHarness({ resourceLimits: { maxOldGenerationSizeMb: 48 } });
      const greedy = harness.source(() => {
        const all: unknown[] = [];
        for (;;) all.push(Array.from({ length: 10_000 }, Math.random));
      });
      const failure = await harness.failure(greedy);
      expect(failure.code).toBe('ERR_WORKER_CRASH');
      expect(failure.message).toMatch(/memory/i);
      await expectClean(harness);
    });

    test.each([
      ['text', '() => { throw "gone"; }', 'gone'],
      ['null', 'async () => { throw null; }', 'null'],
      ['a frozen error', '() => { throw Object.freeze(new Error("cold")); }', 'cold'],
      ['a cyclic error', '() => { const e = new Error("round"); e.self = e; throw e; }', 'round'],
      ['a getter that throws', '() => { throw { get message() { throw 1; } }; }', ''],
      ['100 MB of message', '() => { throw new Error("x".repeat(1e8)); }', 'xxx'],
      ['a hostile thenable', '() => ({ get then() { throw new Error("no"); } })', 'no'],
    ])('throwing %s fails only that', async (_what, text, says) => {
      await using harness = aHarness();
      const failure = await harness.failure(source(harness, text));
      expect(failure.code).toBe('ERR_TASK');
      expect(failure.message).toContain(says);
      expect(failure.message.length).toBeLessThan(1_000);
      expect(harness.emptied).toEqual([]);
      await expectClean(harness);
    });

    test.each([
      ['a function', '() => ({ a: [1, () => 1] })', 'a[1]'],
      ['a symbol', '() => Symbol("s")', 'symbol'],
      ['a WeakMap', '() => ({ w: new WeakMap() })', 'w'],
      ['a promise inside', '() => ({ p: Promise.resolve(1) })', 'p'],
      ['a getter that throws', '() => ({ get x() { throw new Error("no"); } })', 'x'],
      [
        'a nesting of 200,000',
        '() => { let x = []; for (let i = 0; i < 2e5; i++) x = [x]; return x; }',
        'deep',
      ],
    ])('returning %s fails with the path inside the result', async (_what, text, says) => {
      await using harness = aHarness();
      const failure = await harness.failure(source(harness, text));
      expect(failure.code).toBe('ERR_RESULT');
      expect(failure.message).toContain(says);
      expect(harness.emptied).toEqual([]);
      await expectClean(harness);
    });

    test('a child process that is left behind does not hold the slot', async () => {
      await using harness = aHarness();
      const pidFile = join(aDirectory(), 'pid');
      const spawns = source(
        harness,
        `(file) => {
          const { spawn } = process.getBuiltinModule('node:child_process');
          const child = spawn('sleep', ['1000'], { stdio: 'inherit' });
          process.getBuiltinModule('node:fs').writeFileSync(file, String(child.pid));
          child.unref();
          return child.pid;
        }`,
      );
      const pid = await harness.call(spawns, pidFile);
      onTestFinished(() => {
        if (functionsIn === 'threads') process.kill(Number(pid), 'SIGKILL');
      });
      await expectClean(harness);
      if (functionsIn === 'threads') return;
      // It is of the process's group, and ends with it.
      await harness.executor.close();
      await harness.until(() => !existsSync(`/proc/${Number(pid)}/cmdline`), 'it to be gone');
    });
  });
});

describe('functions in processes', () => {
  test.each([
    ['SIGSEGV', 'a fault of native code'],
    ['SIGABRT', 'as by process.abort()'],
    ['SIGKILL', 'as by a system out of memory'],
  ])('a task that ends by %s is blamed, and names the signal', async (signal, hint) => {
    await using harness = new Harness({ functionsIn: 'processes', slots: 2 });
    const dies = harness.source((how: string) => {
      process.kill(process.pid, how);
      for (;;);
    });
    const wait = harness.source(() => new Promise((resolve) => setTimeout(resolve, 300, 'lives')));
    const neighbour = harness.start(wait, [], { slot: 1 });
    const failure = await harness.failure(dies, signal);
    expect(failure).toMatchObject({ code: 'ERR_WORKER_CRASH', worker: 'w-1' });
    expect(failure.message).toContain(`was killed by ${signal}`);
    expect(failure.message).toContain(hint);
    await harness.end(neighbour);
    expect(harness.results.get(neighbour)).toBe('lives');
    expect(await harness.call(harness.source(() => 'fine'))).toBe('fine');
  });

  test('a task may ask for one, next to threads', async () => {
    await using harness = new Harness();
    const text = '() => process.getBuiltinModule("node:worker_threads").isMainThread';
    const spec = { kind: 'source', name: 'f', source: text } as const;
    const thread = harness.define('f', spec);
    const apart = harness.define('f', { ...spec, executor: 'processes' });
    expect(await harness.call(thread)).toBe(false);
    expect(await harness.call(apart)).toBe(true);
    expect(await harness.call(thread)).toBe(false);
  });

  test('closing the connection to the worker ends the process, not the worker', async () => {
    await using harness = new Harness({ functionsIn: 'processes' });
    const close = harness.source(() => {
      process.getBuiltinModule('node:fs').closeSync(3);
      for (;;);
    });
    expect((await harness.failure(close)).code).toBe('ERR_WORKER_CRASH');
    expect(await harness.call(harness.source(() => 'fine'))).toBe('fine');
  });

  test('one that spins ends with a worker that is killed', async () => {
    const program =
      `import { Harness } from '${new URL('./executor-harness.ts', import.meta.url).href}';` +
      `const harness = new Harness({ functionsIn: 'processes' });` +
      `const spin = harness.source(() => { console.log('pid', process.pid); for (;;); }, 'spin');` +
      `harness.start(spin);` +
      `await harness.until(() => harness.output.stdout.includes('\\n'), 'it to run');` +
      `console.log(harness.output.stdout); setInterval(() => {}, 1000);`;
    const { spawn } = await import('node:child_process');
    const parent = spawn(
      process.execPath,
      ['--conditions=@farm/source', '--input-type=module', `--eval=${program}`],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    const printed = await new Promise<string>((resolve) => {
      parent.stdout.setEncoding('utf8').once('data', resolve);
    });
    const pid = Number(/pid (\d+)/.exec(printed)?.[1]);
    expect(pid).toBeGreaterThan(0);
    parent.kill('SIGKILL');
    await using harness = new Harness();
    await harness.until(() => !existsSync(`/proc/${pid}/cmdline`), 'the process to be gone');
  });
});

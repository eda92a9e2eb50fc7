import { encodeValue, FUTURE } from '@farm/protocol/value';
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, onTestFinished, test } from 'vitest';

import { cancelled, Harness, thrown } from './executor-harness.ts';
import { aDirectory } from './command-harness.ts';

/** Blocks the thread. Part of tasks, so it must be self-contained. */
const SPIN =
  '(ms) => { const t = performance.now(); while (performance.now() - t < ms); return ms; }';

function aSpin(harness: Harness): number {
  return harness.define('spin', { kind: 'source', name: 'spin', source: SPIN });
}

describe('functions', () => {
  test('a source function gets its arguments and its result comes back', async () => {
    await using harness = new Harness();
    const add = harness.source((a: number, b: { c: number }) => a + b.c, 'add');
    expect(await harness.call(add, 40, { c: 2 })).toBe(42);
    expect(harness.durationsUs.get(1)).toBeGreaterThan(0);
  });

  test('an async function is awaited, and keeps its slot', async () => {
    await using harness = new Harness();
    const later = harness.source(async (x: number) => {
      await new Promise((resolve) => setTimeout(resolve, 30));
      return x * 2;
    });
    const now = harness.source((x: number) => x);
    const first = harness.start(later, [21]);
    const second = harness.start(now, [1]);
    await harness.end(second);
    expect(harness.order).toEqual([first, second]);
    expect(harness.results.get(first)).toBe(42);
  });

  test('inputs take the place of the references, in order', async () => {
    await using harness = new Harness();
    const one = { [FUTURE]: true };
    const two = { [FUTURE]: true };
    const { bytes, references } = encodeValue([[one, two], one]);
    expect(references).toEqual([one, two]);
    const join = harness.source((list: string[], again: string) => `${list.join('+')}=${again}`);
    const run = harness.start(join, [], {
      args: bytes,
      inputs: [encodeValue('a').bytes, encodeValue('b').bytes],
    });
    await harness.end(run);
    expect(harness.results.get(run)).toBe('a+b=a');
  });

  test('a large input arrives whole, and writing to it changes nobody else’s', async () => {
    await using harness = new Harness();
    const numbers = new Float64Array(500_000).fill(1);
    const input = encodeValue(numbers).bytes;
    const { bytes } = encodeValue([{ [FUTURE]: true }]);
    const spoil = harness.source((list: Float64Array) => {
      const sum = list.reduce((a, b) => a + b, 0);
      list.fill(7);
      return sum;
    });
    const runs = [1, 2].map(() => harness.aRun([], { args: bytes, inputs: [input] }));
    harness.executor.execute(0, spoil, runs);
    for (const { run } of runs) {
      await harness.end(run);
      expect(harness.results.get(run)).toBe(500_000);
    }
  });

  test('an export of a module is imported once and called', async () => {
    await using harness = new Harness();
    const directory = aDirectory();
    const path = join(directory, 'tasks.mjs');
    writeFileSync(path, 'let calls = 0; export const count = (x) => [x, ++calls];');
    const url = pathToFileURL(path).href;
    const count = harness.define('count', {
      kind: 'module',
      name: 'count',
      url,
      exportName: 'count',
    });
    expect(await harness.call(count, 'a')).toEqual(['a', 1]);
    expect(await harness.call(count, 'b')).toEqual(['b', 2]);
  });

  test('a module is not taken for the program: its guard holds', async () => {
    await using harness = new Harness();
    const path = join(aDirectory(), 'guarded.mjs');
    writeFileSync(path, 'let ran = import.meta.main; export const isMain = () => ran;');
    const url = pathToFileURL(path).href;
    const spec = { kind: 'module', name: 'isMain', url, exportName: 'isMain' } as const;
    expect(await harness.call(harness.define('isMain', spec))).toBe(false);
    const inside = harness.define('inside', {
      kind: 'source',
      name: 'inside',
      source: 'async (path) => (await import(path)).isMain()',
    });
    expect(await harness.call(inside, `${url}?again`)).toBe(false);
  });

  test('a bare specifier and an import() in a source are resolved from the worker’s directory', async () => {
    await using harness = new Harness();
    const url = 'node:path';
    const base = harness.define('b', { kind: 'module', name: 'b', url, exportName: 'basename' });
    expect(await harness.call(base, '/a/b')).toBe('b');
    const source = `async () => typeof (await import('msgpackr')).pack`;
    const dynamic = harness.define('d', { kind: 'source', name: 'd', source });
    expect(await harness.call(dynamic)).toBe('function');
    expect(harness.output.stderr).toBe('');
  });

  test('a module or export that is missing is named', async () => {
    await using harness = new Harness();
    const directory = aDirectory();
    writeFileSync(join(directory, 'tasks.mjs'), 'export const a = 1, b = () => {};');
    const url = pathToFileURL(join(directory, 'tasks.mjs')).href;
    const module = (url: string, exportName: string): number =>
      harness.define('t', { kind: 'module', name: 't', url, exportName });

    const missing = await harness.failure(module(`${url}.none`, 'b'));
    expect(missing).toMatchObject({ code: 'ERR_FUNCTION', origin: 'task-1', worker: 'w-1' });
    expect(missing.message).toMatch(
      /^task-1: the module file:.*tasks\.mjs\.none could not be imported on worker w-1: Error/,
    );
    expect(thrown(missing)).toMatchObject({ code: 'ERR_MODULE_NOT_FOUND' });
    expect((await harness.failure(module(url, 'c'))).message).toContain('no export c, only a, b');
    expect((await harness.failure(module(url, 'a'))).message).toContain('not a function');
  });

  test('a module that fails once is tried again', async () => {
    await using harness = new Harness();
    const path = join(aDirectory(), 'late.mjs');
    const url = pathToFileURL(path).href;
    const late = harness.define('late', { kind: 'module', name: 'late', url, exportName: 'f' });
    expect((await harness.failure(late)).code).toBe('ERR_FUNCTION');
    writeFileSync(path, 'export const f = () => "here";');
    expect(await harness.call(late)).toBe('here');
  });

  test('a source that does not evaluate is refused by name', async () => {
    await using harness = new Harness();
    const source = (text: string): number =>
      harness.define('odd', { kind: 'source', name: 'odd', source: text });
    expect((await harness.failure(source('(x => {'))).message).toMatch(
      /odd could not be evaluated.*SyntaxError.*Node/,
    );
    expect((await harness.failure(source('42'))).message).toContain('a value of type number');
  });

  test('a source with esbuild’s name helper and a trailing comment evaluates', async () => {
    await using harness = new Harness();
    const source = '() => { const f = __name(() => 1, "f"); return f.name; } // done';
    const named = harness.define('named', { kind: 'source', name: 'named', source });
    expect(await harness.call(named)).toBe('f');
  });

  test('a sloppy source evaluates too', async () => {
    await using harness = new Harness();
    const sloppy = harness.define('s', { kind: 'source', name: 's', source: '() => 017' });
    expect(await harness.call(sloppy)).toBe(15);
  });

  test('a forgotten function is gone from the threads', async () => {
    await using harness = new Harness();
    const one = harness.source(() => 1);
    await harness.call(one);
    harness.executor.forget([one]);
    harness.executor.define(one, 'two', { kind: 'source', name: 'two', source: '() => 2' });
    expect(await harness.call(one)).toBe(2);
  });

  test('a task finds its key, attempt and resources, and nothing between runs', async () => {
    await using harness = new Harness();
    const context = harness.source(() => {
      const task = (globalThis as unknown as Record<symbol, unknown>)[Symbol.for('farm.task')];
      const { key, worker, slot, attempt, resources } = task as Record<string, unknown>;
      return { key, worker, slot, attempt, resources };
    });
    const run = harness.start(context, [], { key: 'k', attempt: 3, resources: [['GPU', 2]] });
    await harness.end(run);
    expect(harness.results.get(run)).toEqual({
      key: 'k',
      worker: 'w-1',
      slot: 0,
      attempt: 3,
      resources: [['GPU', 2]],
    });
  });
});

describe('failures', () => {
  test('a thrown error arrives with its fields and a stack that names the function', async () => {
    await using harness = new Harness();
    const fails = harness.source(function fails() {
      throw Object.assign(new RangeError('too far'), { code: 'E_FAR', at: [1, 2] });
    });
    const failure = await harness.failure(fails);
    expect(failure).toMatchObject({ code: 'ERR_TASK', origin: 'task-1', worker: 'w-1' });
    expect(failure.message).toContain('too far');
    const error = thrown(failure);
    expect(error).toBeInstanceOf(RangeError);
    expect(error).toMatchObject({ message: 'too far', code: 'E_FAR', at: [1, 2] });
    expect(error.stack).toMatch(/^RangeError: too far\n +at fails \(farm:\/\/\/fails-1:2:/);
    const arrow = () => {
      throw new Error('in an arrow');
    };
    const { stack } = thrown(await harness.failure(harness.source(arrow)));
    expect(stack).toMatch(/^Error: in an arrow\n +at arrow \(farm:\/\/\/arrow-2:2:/);
  });

  test.each([
    ['text', '() => { throw "gone"; }', 'gone'],
    ['null', '() => { throw null; }', 'null'],
    ['undefined', 'async () => { throw undefined; }', 'undefined'],
    ['a frozen error', '() => { throw Object.freeze(new Error("cold")); }', 'cold'],
    [
      'a revoked proxy',
      '() => { const r = Proxy.revocable({}, {}); r.revoke(); throw r.proxy; }',
      '',
    ],
    ['a getter that throws', '() => { throw { get message() { throw 1; } }; }', ''],
    ['a huge message', '() => { throw new Error("x".repeat(50_000_000)); }', 'xxx'],
    ['a hostile thenable', '() => ({ get then() { throw new Error("no"); } })', 'no'],
  ])('throwing %s is a failure, and the slot goes on', async (_what, source, text) => {
    await using harness = new Harness();
    const fails = harness.define('fails', { kind: 'source', name: 'fails', source });
    const fine = harness.source(() => 'fine');
    const failure = await harness.failure(fails);
    expect(failure.code).toBe('ERR_TASK');
    expect(failure.message).toContain(text);
    expect(failure.message.length).toBeLessThan(1_000);
    expect(await harness.call(fine)).toBe('fine');
    expect(harness.emptied).toEqual([]);
  });

  test.each([
    ['a function', '() => ({ a: [1, () => 1] })', 'a[1]'],
    ['a symbol', '() => Symbol("s")', 'symbol'],
    ['a getter that throws', '() => ({ get x() { throw new Error("no"); } })', 'x'],
  ])('returning %s fails with the path inside the result', async (_what, source, text) => {
    await using harness = new Harness();
    const odd = harness.define('odd', { kind: 'source', name: 'odd', source });
    const failure = await harness.failure(odd);
    expect(failure.code).toBe('ERR_RESULT');
    expect(failure.message).toMatch(/^task-1: the result/);
    expect(failure.message).toContain(text);
  });

  test('arguments that are no encoded value fail only their run', async () => {
    await using harness = new Harness();
    const fine = harness.source((x: number) => x);
    const bad = harness.start(fine, [], { args: new Uint8Array([255, 1, 2, 3]) });
    expect((await harness.failureOf(bad)).message).toContain('arguments');
    expect(await harness.call(fine, 1)).toBe(1);
  });

  test('an unhandled rejection after the return is logged, and the slot goes on', async () => {
    await using harness = new Harness();
    const careless = harness.source(() => {
      void Promise.reject(new Error('nobody cares'));
      return 1;
    });
    expect(await harness.call(careless)).toBe(1);
    await harness.until(() => harness.output.stderr.includes('nobody cares'), 'the log line');
    expect(harness.output.stderr).toContain('task-1');
    expect(await harness.call(careless)).toBe(1);
    expect(harness.emptied).toEqual([]);
  });
});

describe('results', () => {
  test('a result of 20 MB arrives whole', async () => {
    await using harness = new Harness();
    const big = harness.source(() => new Uint8Array(20_000_000).fill(7));
    const result = await harness.call(big);
    expect(result).toBeInstanceOf(Uint8Array);
    // SAFE: checked in the line before.
    expect((result as Uint8Array).every((byte) => byte === 7)).toBe(true);
  });

  test('results of all sizes arrive intact, and each once', async () => {
    await using harness = new Harness();
    const repeat = harness.source((letter: string, times: number) => letter.repeat(times));
    const wanted = Array.from({ length: 6_000 }, (_, index) => {
      const times = index % 500 === 499 ? 100_000 : (index * 37) % 2_000;
      return { letter: String.fromCharCode(97 + (index % 26)), times };
    });
    const runs = wanted.map(({ letter, times }) => harness.aRun([letter, times]));
    harness.executor.execute(0, repeat, runs);
    await harness.until(() => harness.results.size === runs.length, 'all results');
    const differing = runs.filter(({ run }, index) => {
      const { letter = '', times = 0 } = wanted[index] ?? {};
      return harness.results.get(run) !== letter.repeat(times);
    });
    expect(differing).toEqual([]);
  });

  test('results before a long run in a batch are there before it ends', async () => {
    await using harness = new Harness();
    const spin = aSpin(harness);
    const runs = Array.from({ length: 1_000 }, (_, index) =>
      harness.aRun([index === 500 ? 200 : 0]),
    );
    harness.executor.execute(0, spin, runs);
    const long = runs[500]?.run ?? 0;
    await harness.until(() => harness.results.has(long - 1), 'the result before the long run');
    expect(harness.executor.executing()).toEqual([long]);
    await harness.until(() => harness.results.size === 1_000, 'all results');
  });

  test('a result has memory of its own', async () => {
    const kept: Uint8Array[] = [];
    await using harness = new Harness({
      handlers: {
        ended: (_slot, results) => kept.push(...results.map(({ value }) => value)),
        erred: () => {},
        seceded: () => {},
        emptied: () => {},
        withdrawn: () => {},
        output: () => {},
      },
    });
    const same = harness.source((x: number) => x);
    const runs = Array.from({ length: 200 }, (_, index) => harness.aRun([index]));
    harness.executor.execute(0, same, runs);
    await harness.until(() => kept.length === 200, 'all results');
    expect(new Set(kept.map(({ buffer }) => buffer)).size).toBe(200);
    expect(kept.every(({ buffer }) => buffer.byteLength < 100)).toBe(true);
    expect(kept.every(({ buffer }) => buffer instanceof ArrayBuffer)).toBe(true);
  });
});

describe('interrupts', () => {
  test.each([
    ['an infinite loop', '() => { for (;;); }'],
    ['a promise that never settles', '() => new Promise(() => {})'],
    ['a wait for a lock', '() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)'],
    ['an endless chain of microtasks', 'async () => { for (;;) await null; }'],
    ['a loop that catches everything', '() => { for (;;) try { for (;;); } catch {} finally {} }'],
    ['endless output', '() => { for (;;) console.log("x".repeat(10_000)); }'],
  ])('%s is terminated, and the slot is clean', async (_what, source) => {
    await using harness = new Harness();
    const stuck = harness.define('stuck', { kind: 'source', name: 'stuck', source });
    const fine = harness.source(() => 'fine');
    expect(await harness.call(fine)).toBe('fine');
    const run = harness.start(stuck);
    const behind = harness.start(fine);
    await harness.executing(run);
    expect(harness.executor.interrupt(0, behind, cancelled())).toBe(false);
    expect(harness.executor.interrupt(0, run, cancelled())).toBe(true);
    expect(harness.emptied).toEqual([]);
    await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');
    expect(harness.emptied).toEqual([
      { slot: 0, failed: { run, failure: cancelled() }, unstarted: [behind] },
    ]);
    expect(await harness.call(fine)).toBe('fine');
    expect(harness.executor.executing()).toEqual([]);
  });

  test('what was finished before is reported, and nothing twice', async () => {
    await using harness = new Harness();
    const maybe = harness.source((stop: boolean) => {
      if (stop) for (;;);
      return 1;
    });
    const runs = Array.from({ length: 300 }, (_, index) => harness.aRun([index === 200]));
    harness.executor.execute(0, maybe, runs);
    const stuck = runs[200]?.run ?? 0;
    await harness.executing(stuck);
    expect(harness.executor.interrupt(0, stuck, cancelled())).toBe(true);
    const late = harness.start(maybe, [false]);
    await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');
    expect(harness.order).toEqual(runs.slice(0, 200).map(({ run }) => run));
    expect(harness.emptied[0]?.failed?.run).toBe(stuck);
    expect(harness.emptied[0]?.unstarted).toEqual([...runs.slice(201).map(({ run }) => run), late]);
  });

  test('a run that has ended or does not exist is not interrupted', async () => {
    await using harness = new Harness();
    const one = harness.source(() => 1);
    await harness.call(one);
    expect(harness.executor.interrupt(0, 1, cancelled())).toBe(false);
    expect(harness.executor.interrupt(0, 99, cancelled())).toBe(false);
    expect(await harness.call(one)).toBe(1);
  });

  test('interrupting short runs under load never loses or blames another run', async () => {
    await using harness = new Harness();
    const spin = aSpin(harness);
    let interrupted = 0;
    for (let round = 0; round < 12; round++) {
      const runs = Array.from({ length: 400 }, () => harness.aRun([0.05]));
      harness.executor.execute(0, spin, runs);
      await harness.until(
        () =>
          harness.executor.executing().length > 0 ||
          runs.every(({ run }) => harness.results.has(run)),
        'a run to start',
      );
      let target: number | undefined;
      while (target === undefined && harness.executor.executing().length > 0) {
        const [run = 0] = harness.executor.executing();
        if (harness.executor.interrupt(0, run, cancelled())) target = run;
      }
      const emptiedMin = harness.emptied.length + (target === undefined ? 0 : 1);
      await harness.until(
        () =>
          harness.emptied.length >= emptiedMin &&
          runs.every(
            ({ run }) =>
              harness.results.has(run) ||
              harness.failures.has(run) ||
              harness.emptied.some(({ unstarted }) => unstarted.includes(run)),
          ),
        'every run to be accounted for',
      );
      if (target === undefined) continue;
      interrupted++;
      const last = harness.emptied.at(-1);
      if (last?.failed === null) expect(harness.results.has(target)).toBe(true);
      else expect(last?.failed?.run).toBe(target);
      for (const run of last?.unstarted ?? []) expect(harness.results.has(run)).toBe(false);
    }
    expect(interrupted).toBeGreaterThan(0);
  });

  test('a time limit counts from the start of the run', async () => {
    await using harness = new Harness();
    const spin = aSpin(harness);
    const before = harness.start(spin, [300]);
    const limited = harness.start(spin, [60_000], { timeoutMs: 150 });
    const failure = await harness.failureOf(limited);
    expect(harness.results.get(before)).toBe(300);
    expect(failure).toMatchObject({ code: 'ERR_TASK_TIMEOUT', origin: 'task-2', worker: 'w-1' });
    expect(failure.message).toBe('task-2: ran longer than timeoutMs = 150');
    const enough = harness.start(spin, [1], { timeoutMs: 10_000 });
    await harness.end(enough);
    expect(harness.results.get(enough)).toBe(1);
  });

  test('a thread inside a blocking call of native code is left behind', async () => {
    await using harness = new Harness();
    const pidFile = join(aDirectory(), 'pid');
    const blocked = harness.source((path: string) => {
      const script = `echo $$ > ${path}.tmp && mv ${path}.tmp ${path} && exec sleep 100`;
      process.getBuiltinModule('node:child_process').execFileSync('/bin/sh', ['-c', script]);
    });
    const run = harness.start(blocked, [pidFile]);
    await harness.until(() => existsSync(pidFile), 'the task to block');
    const pid = Number(readFileSync(pidFile, 'utf8'));
    onTestFinished(() => void process.kill(pid));
    expect(harness.executor.interrupt(0, run, cancelled())).toBe(true);
    await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');
    expect(harness.output.stderr).toContain('left behind');
    expect(await harness.call(harness.source(() => 'fine'))).toBe('fine');
  });
});

describe('crashes', () => {
  test('process.exit in a task fails that task only', async () => {
    await using harness = new Harness();
    const maybe = harness.source((exit: boolean) => (exit ? process.exit(3) : 1));
    const runs = [false, true, false].map((exit) => harness.aRun([exit]));
    harness.executor.execute(0, maybe, runs);
    const [first, second, third] = runs.map(({ run }) => run);
    const failure = await harness.failureOf(second ?? 0);
    expect(failure).toMatchObject({ code: 'ERR_WORKER_CRASH', origin: 'task-2', worker: 'w-1' });
    expect(failure.message).toMatch(/^task-2: the thread running it ended: exit code 3/);
    expect(harness.results.get(first ?? 0)).toBe(1);
    expect(harness.emptied[0]?.unstarted).toEqual([third]);
    expect(await harness.call(maybe, false)).toBe(1);
  });

  test('an exception outside any call ends the thread, not the worker', async () => {
    await using harness = new Harness();
    const trap = harness.source(async () => {
      setTimeout(() => {
        throw new TypeError('out of nowhere');
      }, 5);
      await new Promise(() => {});
    });
    const failure = await harness.failure(trap);
    expect(failure.code).toBe('ERR_WORKER_CRASH');
    expect(failure.message).toBe(
      'task-1: the thread running it ended: uncaught TypeError: out of nowhere',
    );
    expect(thrown(failure)).toMatchObject({ name: 'TypeError', message: 'out of nowhere' });
    expect(await harness.call(harness.source(() => 'fine'))).toBe('fine');
  });

  test('a thread that dies between runs is replaced, and the log says so', async () => {
    await using harness = new Harness();
    const bomb = harness.source(() => {
      setTimeout(() => process.exit(5), 20);
      return 'armed';
    });
    expect(await harness.call(bomb)).toBe('armed');
    await harness.until(() => harness.output.stderr.includes('ended between runs'), 'the log line');
    expect(harness.output.stderr).toContain('task task-1, which has ended');
    expect(harness.output.stderr).toContain('exit code 5');
    expect(harness.emptied).toEqual([]);
    expect(await harness.call(harness.source(() => 'fine'))).toBe('fine');
  });

  test('a task that uses up its memory fails alone, and the cause is named', async () => {
    await using harness = new Harness({ resourceLimits: { maxOldGenerationSizeMb: 32 } });
    const greedy = harness.source(() => {
      const all: unknown[] = [];
      for (;;) all.push(Array.from({ length: 10_000 }, Math.random));
    });
    const failure = await harness.failure(greedy);
    expect(failure.code).toBe('ERR_WORKER_CRASH');
    expect(failure.message).toContain('ERR_WORKER_OUT_OF_MEMORY');
    expect(await harness.call(harness.source(() => 'fine'))).toBe('fine');
  });

  test('a thread that cannot start fails its run instead of being tried for ever', async () => {
    // A preload, which threads inherit, that works on the main thread only.
    const preload =
      `import { isMainThread } from 'node:worker_threads';` +
      `if (!isMainThread) throw new Error('bad preload');`;
    const program =
      `import { Harness } from ${JSON.stringify(new URL('./executor-harness.ts', import.meta.url))};` +
      `const harness = new Harness();` +
      `const one = harness.source(() => 1, 'one');` +
      `harness.executor.execute(0, one, [harness.aRun(), harness.aRun()]);` +
      `await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');` +
      `console.log(JSON.stringify(harness.emptied)); await harness.executor.close();`;
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--conditions=@farm/source',
      `--import=data:text/javascript,${encodeURIComponent(preload)}`,
      '--input-type=module',
      `--eval=${program}`,
    ]);
    expect(JSON.parse(stdout)).toMatchObject([
      { failed: { run: 1, failure: { code: 'ERR_WORKER_CRASH' } }, unstarted: [2] },
    ]);
    expect(stdout).toContain('could not be started');
    expect(stdout).toContain('bad preload');
  });
});

describe('withdrawing', () => {
  test('runs are withdrawn or started, never both and never neither', async () => {
    await using harness = new Harness();
    const spin = aSpin(harness);
    const all = new Set<number>();
    const withdrawn = new Set<number>();
    for (let round = 0; round < 40; round++) {
      const runs = Array.from({ length: 300 }, () => harness.aRun([0]));
      harness.executor.execute(0, spin, runs);
      for (const { run } of runs) all.add(run);
      const asked = runs.filter((_, index) => index % 3 !== 0).map(({ run }) => run);
      const answer = harness.executor.withdraw(0, asked);
      expect(answer.withdrawn.length + answer.started.length).toBe(asked.length);
      for (const run of answer.withdrawn) withdrawn.add(run);
      if (round % 5 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await harness.until(
      () => harness.results.size + withdrawn.size === all.size,
      'every run to end or be withdrawn',
    );
    expect(await harness.call(spin, 0)).toBe(0);
    for (const run of withdrawn) expect(harness.results.has(run)).toBe(false);
    expect(withdrawn.size).toBeGreaterThan(0);
  });

  test('what executes is not withdrawn, what waits behind it is', async () => {
    await using harness = new Harness();
    const wait = harness.source(() => new Promise(() => {}));
    const runs = Array.from({ length: 10_000 }, () => harness.aRun([]));
    harness.executor.execute(0, wait, runs);
    const [first = 0, ...rest] = runs.map(({ run }) => run);
    await harness.executing(first);
    const answer = harness.executor.withdraw(0, [first, ...rest]);
    expect(answer.started).toEqual([first]);
    expect(answer.withdrawn).toEqual(rest);
    expect(harness.executor.interrupt(0, first, cancelled())).toBe(true);
    await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');
    expect(harness.emptied[0]?.unstarted).toEqual([]);
  });
});

describe('output', () => {
  test('console output arrives in whole lines, in order', async () => {
    await using harness = new Harness();
    const chatty = harness.source((who: string) => {
      console.log('hello', who);
      process.stdout.write('no newline');
      console.error('oops');
    });
    await harness.call(chatty, 'you');
    await harness.until(() => harness.output.stdout.includes('no newline\n'), 'the last line');
    expect(harness.output.stdout).toBe('hello you\nno newline\n');
    expect(harness.output.stderr).toBe('oops\n');
  });

  test('what a task wrote before it was terminated is not lost', async () => {
    await using harness = new Harness();
    const stuck = harness.source(() => {
      for (let line = 0; line < 100; line++) console.log(`line ${line}`);
      for (;;);
    });
    const run = harness.start(stuck);
    await harness.executing(run);
    await harness.until(() => harness.output.stdout.includes('line 99\n'), 'the last line');
    harness.executor.interrupt(0, run, cancelled());
    await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');
    expect(harness.output.stdout.trim().split('\n')).toHaveLength(100);
    const exits = harness.source(() => {
      console.log('last words');
      process.exit(1);
    });
    await harness.failure(exits);
    expect(harness.output.stdout).toContain('last words\n');
  });

  test('a thread sees the worker’s environment, and cannot change it', async () => {
    await using harness = new Harness();
    process.env['FARM_TEST_MARK'] = 'job';
    onTestFinished(() => {
      delete process.env['FARM_TEST_MARK'];
    });
    const env = harness.source(() => {
      const seen = process.env['FARM_TEST_MARK'];
      process.env['FARM_TEST_MARK'] = 'changed';
      return seen;
    });
    expect(await harness.call(env)).toBe('job');
    expect(process.env['FARM_TEST_MARK']).toBe('job');
  });
});

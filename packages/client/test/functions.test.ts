import { pathToFileURL } from 'node:url';
import { runInThisContext } from 'node:vm';

import { decodeValue } from '@farm/protocol/value';
import { describe, expect, test } from 'vitest';

import { arg, command, fromModule, text } from '../src/index.ts';
import { analyzeFunction } from '../src/functions/free-variables.ts';
import { prepareFunction } from '../src/functions/prepare.ts';

const outside = 2;

/** What the workers would be told. */
function specOf(code: unknown): Record<string, unknown> {
  // SAFE: every spec is a plain object.
  return decodeValue(prepareFunction(code).spec) as Record<string, unknown>;
}

function sourceOf(code: unknown): string {
  const { source } = specOf(code);
  if (typeof source === 'string') return source;
  throw new Error('it has no source');
}

/** Evaluates a source as a worker does. */
function evaluate(code: unknown): (...args: unknown[]) => unknown {
  // SAFE: a source evaluates to a function.
  return runInThisContext(`(() => { 'use strict'; return (${sourceOf(code)}\n); })()`) as never;
}

describe('self-contained functions', () => {
  const fibonacci = (n: number): number => (n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2));
  const methods = {
    double(x: number): number {
      return x * 2;
    },
    async 'to string'(x: number): Promise<string> {
      await Promise.resolve();
      return String(x);
    },
    [Symbol.iterator](x: number): number {
      return x + 1;
    },
  };

  test.each<[string, unknown, unknown[], unknown]>([
    ['an arrow', (x: number) => x + 1, [1], 2],
    ['default values', (x: number, y = x * 2, { z = y } = {}) => x + y + z, [1], 5],
    [
      'a function',
      function twice(x: number) {
        return x * 2;
      },
      [2],
      4,
    ],
    [
      'inner functions with this',
      () =>
        ({
          a: 1,
          get() {
            return this.a;
          },
        }).get(),
      [],
      1,
    ],
    [
      'inner classes',
      () => {
        class A {
          readonly #x = 3;
          y = this.#x;
        }
        return new A().y;
      },
      [],
      3,
    ],
    [
      'recursion by name',
      function f(n: number): number {
        return n === 0 ? 0 : f(n - 1);
      },
      [3],
      0,
    ],
    ['recursion of an arrow', fibonacci, [10], 55],
    ['a method', methods.double, [4], 8],
    ['a method by symbol', methods[Symbol.iterator], [4], 5],
    [
      'globals of Node',
      () => Buffer.from('a').length + new URL('http://a/b').pathname.length,
      [],
      3,
    ],
    [
      'typeof of what is not there', // @ts-expect-error: no such variable
      () => typeof document,
      [],
      'undefined',
    ],
    [
      'a trailing comment',
      () => 1, // one
      [],
      1,
    ],
  ])('%s', (_name, fn, args, result) => {
    expect(evaluate(fn)(...args)).toBe(result);
  });

  test('async ones and async methods', async () => {
    expect(await evaluate((x: number) => Promise.resolve(x + 1))(1)).toBe(2);
    expect(await evaluate(methods['to string'])(1)).toBe('1');
    expect(sourceOf(async () => (await import('node:path')).sep)).toContain("import('node:path')");
  });

  test('are prepared once for each source text', () => {
    const make = (): ((x: number) => number) => (x) => x + 1;
    expect(prepareFunction(make())).toBe(prepareFunction(make()));
    const apart = prepareFunction(make(), { executor: 'processes' });
    expect(apart).toBe(prepareFunction(make(), { executor: 'processes' }));
    expect(apart.hash).not.toBe(prepareFunction(make()).hash);
    expect(decodeValue(apart.spec)).toMatchObject({ kind: 'source', executor: 'processes' });
    const sharing = prepareFunction(make(), { sharedInputs: true });
    expect(sharing).toBe(prepareFunction(make(), { sharedInputs: true }));
    expect(decodeValue(sharing.spec)).toMatchObject({ kind: 'source', sharedInputs: true });
    expect(prepareFunction(make(), { sharedInputs: false })).toBe(prepareFunction(make()));
    expect(prepareFunction(make()).hash).toMatch(/^[\da-f]{64}$/);
    expect(prepareFunction(make()).name).toBe('function');
  });
});

describe('functions that cannot travel are refused', () => {
  class Shape {
    size = outside;
    area(): number {
      return this.size;
    }
    static make(): Shape {
      return new Shape();
    }
  }
  class Square extends Shape {
    override area(): number {
      return super.area();
    }
  }
  const accessor = Object.getOwnPropertyDescriptor(
    {
      get a() {
        return 1;
      },
    },
    'a',
  )?.get;

  test.each<[string, unknown, RegExp]>([
    [
      'a free variable',
      (x: number) => x + outside,
      /uses outside, which a worker does not have.*pass it/,
    ],
    ['several', () => [outside, arg, outside, expect], /uses outside, arg, expect.*pass them/],
    [
      'one that is written',
      () => {
        // @ts-expect-error: no such variable
        missing = 1;
      },
      /uses missing/,
    ],
    ['one in a default value', (x = outside) => x, /uses outside/],
    [
      'the name of the function with its value',
      function named() {
        return outside;
      },
      /function named uses/,
    ],
    [
      'this',
      function self(this: unknown) {
        return this;
      },
      /function self uses this/,
    ],
    [
      'this in an arrow',
      (() =>
        function outer(this: unknown) {
          return () => this;
        })(),
      /uses this/,
    ],
    ['a method with this', new Shape().area, /uses this/],
    ['super', new Square().area, /uses super/],
    ['a static method', Shape.make, /uses Shape/],
    [
      'new.target',
      function f() {
        return new.target;
      },
      /uses new\.target/,
    ],
    ['import.meta', () => import.meta.url, /uses import\.meta/],
    ['require', () => void require('node:fs'), /uses require.*await import/],
    ['a native function', Math.hypot, /hypot is native.*Math\.hypot\(x\)/],
    ['a bound function', ((x: number) => x).bind(null, 1), /bind\(\)/],
    ['a class', Shape, /Shape is a class/],
    [
      'a generator',
      function* numbers() {
        yield 1;
      },
      /numbers is a generator/,
    ],
    [
      'an async generator method',
      {
        async *m() {
          yield 1;
        },
      }.m,
      /generator/,
    ],
    ['a getter', accessor, /getter or setter/],
  ])('%s', (_name, fn, message) => {
    expect(() => prepareFunction(fn)).toThrow(message);
    expect(() => prepareFunction(fn)).toThrow(expect.objectContaining({ code: 'ERR_FUNCTION' }));
  });

  test.each([
    ['() => limit', 'const fs', false],
    ['() => limit + 1', 'import inside', false],
    ['() => path.sep', "if it is Node's (const path = await import('node:path'))", true],
    ['() => readFile("a")', "(const { readFile } = await import('node:fs'))", true],
    ['() => toString + limit', 'import inside', false],
    ['() => require("fs")', 'import inside the function (const fs = await', true],
  ])('%s: advice to import, where it may help', (source, advice, isGiven) => {
    const fn: unknown = runInThisContext(source);
    expect(() => prepareFunction(fn)).toThrow(/pass (it|them) as (an argument|arguments)/);
    let message = '';
    try {
      prepareFunction(fn);
    } catch (error) {
      message = String(error);
    }
    expect(message.includes(advice)).toBe(isGiven);
  });

  test('names that test runners and coverage tools put there are explained', () => {
    const rewritten: unknown = runInThisContext('() => __vite_ssr_import_0__.readFile("a")');
    expect(() => prepareFunction(rewritten)).toThrow(/made of an import/);
    const counted: unknown = runInThisContext('() => { cov_1a2b().s[0]++; return 1; }');
    expect(() => prepareFunction(counted)).toThrow(/coverage tool/);
    const named: unknown = runInThisContext(
      '() => { const f = __name(() => 1, "f"); return f(); }',
    );
    expect(() => prepareFunction(named)).not.toThrow();
  });

  test('what cannot be parsed says why', () => {
    expect(analyzeFunction('() => { @ }', 'f')).toHaveProperty('problem');
    expect(analyzeFunction('1 + 1', 'f')).toEqual({ problem: 'it is no function' });
  });
});

describe('fromModule', () => {
  test.each<[string, Parameters<typeof fromModule>[0], string]>([
    ['import.meta', import.meta, import.meta.url],
    ['a URL', new URL('./tasks.ts', import.meta.url), new URL('./tasks.ts', import.meta.url).href],
    ['an absolute path', '/home/a/tasks.mjs', pathToFileURL('/home/a/tasks.mjs').href],
    ['a package', '@scope/tasks/solve', '@scope/tasks/solve'],
    ['a module of Node', 'node:path', 'node:path'],
  ])('takes %s', (_name, module, url) => {
    const spec = { kind: 'module', name: 'solve', url, exportName: 'solve' };
    expect(specOf(fromModule(module, 'solve'))).toEqual(spec);
  });

  test('is named after its file where the export has no name', () => {
    expect(fromModule('/home/a/tasks.mjs', 'default').spec.name).toBe('tasks');
  });

  test.each([
    ['./tasks.ts', 'a', /new URL\("\.\/tasks\.ts", import\.meta\.url\)/],
    ['https://example.org/a.js', 'a', /not from/],
    ['tasks', '', /export's name/],
  ])('refuses %s, %j', (module, name, message) => {
    expect(() => fromModule(module, name)).toThrow(message);
  });
});

describe('command', () => {
  test('is plain data with slots', () => {
    const solve = command('./wrapper.sh', ['FreeFem++-nw', arg(0), ['-o=', arg(2)]], {
      cwd: arg(1),
      env: { OMP_NUM_THREADS: '1' },
      stdout: text`out-${arg(0)}-${7}.log`,
      stderr: { file: 'err.log', append: true },
      acceptExitCodes: [0, 3],
    });
    expect(solve.arity).toBe(3);
    expect(specOf(solve)).toEqual({
      kind: 'command',
      name: 'wrapper.sh',
      file: './wrapper.sh',
      args: ['FreeFem++-nw', { arg: 0 }, ['-o=', { arg: 2 }]],
      cwd: { arg: 1 },
      env: [['OMP_NUM_THREADS', '1']],
      stdin: null,
      stdout: { to: 'file', path: ['out-', { arg: 0 }, '-', '7', '.log'], append: false },
      stderr: { to: 'file', path: 'err.log', append: true },
      acceptExitCodes: [0, 3],
      captureBytesMax: 1_048_576,
    });
    expect(specOf(command('ls'))).toMatchObject({
      stdout: { to: 'capture' },
      stdin: null,
      cwd: null,
    });
  });

  test.each<[string, () => unknown, RegExp]>([
    ['an empty program', () => command(''), /file is empty/],
    ['a NUL', () => command('a', ['b\0c']), /args\[0\] has a NUL/],
    // SAFE: these tests are about values that the types do not allow.
    ['a number among the arguments', () => command('a', [5 as never]), /args\[0\] is not text/],
    ['a line for arguments', () => command('a', '-l' as never), /args is not an array/],
    [
      'a misspelt option',
      () => command('a', [], { stdOut: 'x' } as never),
      /did you mean stdout\?/,
    ],
    ['an exit code', () => command('a', [], { acceptExitCodes: [256] }), /256/],
    ['a negative bound', () => command('a', [], { captureBytesMax: -1 }), /captureBytesMax/],
    ['a variable name', () => command('a', [], { env: { 'A=B': '1' } }), /"A=B"/],
    ['an empty path', () => command('a', [], { stdout: '' }), /empty path/],
    ['a slot', () => arg(-1), /index of an argument/],
    ['a fraction of a slot', () => arg(0.5), /index of an argument/],
  ])('refuses %s', (_name, make, message) => {
    expect(make).toThrow(message);
    expect(make).toThrow(expect.objectContaining({ code: 'ERR_ARGUMENT' }));
  });
});

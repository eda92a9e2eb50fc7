import { readFileSync, readdirSync } from 'node:fs';
import { join, posix } from 'node:path';
import { describe, expect, test } from 'vitest';
import { checkCasts, checkCore, checkDocs, checkImports, findDeadFiles } from './architecture.ts';
import { parseSource, readSources } from './source-tree.ts';
import type { Violation } from './source-tree.ts';

const ROOT = join(import.meta.dirname, '..');
const PACKAGES = readdirSync(join(ROOT, 'packages')).toSorted();

function list(violations: readonly Violation[]): readonly string[] {
  return violations.map(({ where, message }) => `${where} ${message}`);
}

describe.each(PACKAGES)('packages/%s', (name) => {
  const files = readSources(ROOT, `packages/${name}/src`);
  const core = files.filter((file) => file.path.includes('/src/core/'));
  const { dependencies, exported, commands } = readManifest(name);

  test('its core is pure and synchronous', () => {
    expect(core.flatMap((file) => list(checkCore(file)))).toEqual([]);
  });

  test('it imports what its place in the order of packages allows', () => {
    expect(files.flatMap((file) => list(checkImports(file, dependencies)))).toEqual([]);
  });

  test('every entry of its manifest has a source', () => {
    const paths = files.map((file) => file.path);
    expect(exported).not.toEqual([]);
    expect(paths).toEqual(expect.arrayContaining([...exported, ...commands]));
  });

  test('an entry leads to every file', () => {
    expect(list(findDeadFiles(files, [...exported, ...commands]))).toEqual([]);
  });

  test('every export has a docstring', () => {
    const indexes = files.filter((file) => exported.includes(file.path));
    expect(indexes.flatMap((index) => list(checkDocs(index, files)))).toEqual([]);
  });

  test('every cast says why it is safe', () => {
    expect(files.flatMap((file) => list(checkCasts(file)))).toEqual([]);
  });
});

interface Manifest {
  readonly exports: Readonly<Record<string, string | { readonly '@farm/source': string }>>;
  readonly bin?: Readonly<Record<string, string>>;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

/** What a package depends on, and the sources from which something outside it starts. */
function readManifest(name: string): {
  readonly dependencies: ReadonlySet<string>;
  readonly exported: readonly string[];
  readonly commands: readonly string[];
} {
  const text = readFileSync(join(ROOT, 'packages', name, 'package.json'), 'utf8');
  const manifest = JSON.parse(text) as Manifest; // SAFE: npm itself reads these fields so
  const dependencies = new Set([
    ...Object.keys(manifest.dependencies ?? {}),
    ...Object.keys(manifest.peerDependencies ?? {}),
    ...Object.keys(manifest.devDependencies ?? {}).filter((each) => each.startsWith('@types/')),
  ]);
  const exported = Object.values(manifest.exports)
    .filter((entry) => typeof entry === 'object')
    .map((entry) => posix.join('packages', name, entry['@farm/source']));
  // A program's file in bin/ names the module that it runs.
  const commands = Object.values(manifest.bin ?? {}).map((bin) => {
    const program = readFileSync(join(ROOT, 'packages', name, bin), 'utf8');
    const [, module] = /'\.\.\/dist\/(.+)\.js'/u.exec(program) ?? [];
    return `packages/${name}/src/${module}.ts`;
  });
  return { dependencies, exported, commands };
}

describe('the check of cores', () => {
  const check = (text: string, path = 'packages/scheduler/src/core/planted.ts') =>
    checkCore(parseSource(path, text)).map(({ message }) => message);

  test.each([
    ['async function f() {}', 'async function'],
    ['const f = async () => 1;', 'async function'],
    ['class C { async m() {} }', 'async function'],
    ['await x;', 'await'],
    ['function* f() { for (const x of y) yield Promise.resolve(x); }', 'Promise'],
    ['let p: Promise<void>;', 'Promise'],
    ['export type F = () => PromiseLike<number>;', 'PromiseLike'],
    ['for await (const x of y) z(x);', 'for await'],
    ['setTimeout(f, 1);', 'setTimeout'],
    ['const t = globalThis.setTimeout;', 'globalThis'],
    ['queueMicrotask(f);', 'queueMicrotask'],
    ['const t = Date.now();', 'Date'],
    ['const t = new Date();', 'Date'],
    ['const t = performance.now();', 'performance'],
    ['const r = Math.random();', 'Math.random'],
    ['a.sort((x, y) => x.localeCompare(y));', 'localeCompare'],
    ['console.log(1);', 'console'],
    ['const { env } = process;', 'process'],
    ['const o = { process };', 'process'],
    ['eval("1");', 'eval'],
    ["import { readFileSync } from 'node:fs';", "'node:fs'"],
    ["import fs from 'fs';", "'fs'"],
    ["import { nanoid } from 'nanoid';", "'nanoid'"],
    ["import { open } from '@farm/protocol';", "'@farm/protocol'"],
    ["import type { A } from '@farm/worker/core';", "'@farm/worker/core'"],
    ["export { a } from '../shell/server.ts';", "'../shell/server.ts'"],
    ["let a: import('node:fs').Stats;", "'node:fs'"],
    ["const a = import('./other.ts');", 'import()'],
    ['const a = import.meta.url;', 'import.meta'],
  ])('refuses %s', (text, what) => {
    expect(check(text).join('\n')).toContain(what);
  });

  test('lets pure code pass, whatever it calls its members and says in comments', () => {
    const text = `
      import { FarmError } from '@farm/protocol/core';
      import type { State } from './state.ts';
      import { rank } from '../core/rank.ts';
      // Math.random() and setTimeout() are not used here; await nothing.
      const text = 'async Promise console.log(Date.now())';
      type Event = { readonly process: string; readonly async: boolean };
      export function f(event: Event, state: State): number {
        if (event.process === text) throw new FarmError('ERR_INTERNAL', text);
        return Math.max(rank({ console: 1 }), state.Date, new Set([1]).size);
      }`;
    expect(check(text)).toEqual([]);
  });

  test('the core of the protocol imports nothing but itself', () => {
    const path = 'packages/protocol/src/core/planted.ts';
    expect(check("import { a } from './key.ts';", path)).toEqual([]);
    expect(check("import { a } from '@farm/protocol/core';", path)).toHaveLength(1);
  });
});

describe('the check of imports', () => {
  const declared = new Set([
    '@farm/protocol',
    '@farm/cluster',
    '@farm/scheduler',
    'ws',
    '@types/x',
  ]);
  const check = (name: string, text: string) =>
    checkImports(parseSource(`packages/${name}/src/shell/planted.ts`, text), declared);

  test.each([
    ['scheduler', "import { a } from '@farm/worker';"],
    ['scheduler', "import type { A } from '@farm/client';"],
    ['worker', "export { a } from '@farm/scheduler/core';"],
    ['protocol', "import { a } from '@farm/scheduler';"],
    ['client', "import { a } from '@farm/cluster';"],
    ['client', "const a = await import('@farm/scheduler');"],
    ['scheduler', "import { a } from '../../../../sim/world.ts';"],
    ['scheduler', "import { a } from '../../../worker/src/index.ts';"],
    ['scheduler', "import { a } from 'fs';"],
    ['scheduler', "import { a } from 'undeclared';"],
    ['scheduler', "import { a } from 'x';"],
    ['scheduler', "import { a } from '@other/undeclared/deep';"],
    ['newcomer', "import { a } from 'ws';"],
  ])('refuses in %s: %s', (name, text) => {
    expect(check(name, text)).not.toEqual([]);
  });

  test.each([
    ['scheduler', "import { a } from '@farm/protocol/core'; import { b } from '../core/index.ts';"],
    ['worker', "import { a } from 'ws'; import { b } from 'node:fs/promises';"],
    ['worker', "import type { A } from 'x';"],
    ['client', "const { LocalCluster } = await import('@farm/cluster');"],
    ['cluster', "import { a } from '@farm/scheduler';"],
  ])('allows in %s: %s', (name, text) => {
    expect(list(check(name, text))).toEqual([]);
  });
});

describe('the check for dead files', () => {
  const entry = 'packages/worker/src/index.ts';
  const find = (files: Readonly<Record<string, string>>) =>
    findDeadFiles(
      Object.entries(files).map(([path, text]) => parseSource(`packages/worker/src/${path}`, text)),
      [entry],
    ).map(({ where }) => where);

  test('finds a file that nothing leads to, and those only it leads to', () => {
    const dead = find({
      'index.ts': "export { a } from './a.ts';",
      'a.ts': 'export const a = 1;',
      'dead.ts': "import './deader.ts';",
      'deader.ts': '',
    });
    expect(dead).toEqual(['packages/worker/src/dead.ts:1', 'packages/worker/src/deader.ts:1']);
  });

  test('follows types, dynamic imports and the start of threads', () => {
    const dead = find({
      'index.ts': "import type { A } from './a.ts'; await import('./b.ts');",
      'a.ts': "new Worker(new URL('./shell/thread.js', import.meta.url));",
      'b.ts': 'new Worker(new URL(`./shell/child.${extension}`, import.meta.url));',
      'shell/thread.ts': '',
      'shell/child.ts': '',
    });
    expect(dead).toEqual([]);
  });
});

describe('the check of docstrings', () => {
  const check = (files: Readonly<Record<string, string>>) => {
    const parsed = Object.entries(files).map(([path, text]) => parseSource(path, text));
    const [index] = parsed;
    return index === undefined ? [] : list(checkDocs(index, parsed));
  };

  test('finds exports without one, also behind re-exports', () => {
    const found = check({
      'index.ts': "export { a, b as c } from './a.ts'; export * from './d.ts';",
      'a.ts': '/** A. */\nexport const a = 1;\n// no\nexport function b() {}\nexport const z = 1;',
      'd.ts': 'export interface D {}\n/** E. */\nexport type E = 1;\n\nclass F {}\nexport { F };',
    });
    expect(found).toEqual([
      'a.ts:4 export b has no docstring',
      'd.ts:1 export D has no docstring',
      'd.ts:5 export F has no docstring',
    ]);
  });

  test('accepts one docstring for all overloads', () => {
    const text = '/** F. */\nexport function f(a: 1): 1;\nexport function f(a: 2): 2;';
    expect(check({ 'index.ts': text })).toEqual([]);
  });
});

describe('the check of casts', () => {
  const check = (text: string) => list(checkCasts(parseSource('a.ts', text)));

  test('wants a reason on the line or above', () => {
    expect(check('const a = b as string;')).toHaveLength(1);
    expect(check('const a = b!;')).toHaveLength(1);
    expect(check('const a = b as string; // SAFE: b was checked above')).toEqual([]);
    expect(check('// SAFE: b was checked\n// by the caller\nconst a = b as string;')).toEqual([]);
    expect(check('const a = [1] as const;')).toEqual([]);
  });
});

import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');
const BIN = join(ROOT, 'node_modules', '.bin');

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'farm-core-'));
  await plant('package.json', '{ "type": "module" }');
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function plant(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), text);
}

/** Everything a tool of the repository prints about the planted folder. */
function output(tool: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(BIN, tool), ...args], { cwd: folder }, (_error, out, err) => {
      resolve(out + err);
    });
  });
}

const IMPURE: readonly (readonly [text: string, name: string])[] = [
  ['setTimeout(() => {}, 1);', 'setTimeout'],
  ['console.log(1);', 'console'],
  ['performance.now();', 'performance'],
  ['process.exit();', 'process'],
  ["import { readFileSync } from 'node:fs'; readFileSync('x');", 'node:fs'],
];

describe.each(['protocol', 'scheduler', 'worker'])('the core of %s', (name) => {
  test('does not compile with a timer, log, clock or module of Node in it', async () => {
    const core = join(ROOT, 'packages', name, 'src', 'core', 'tsconfig.json');
    const options = { composite: false, incremental: false, noEmit: true, rootDir: '.' };
    await plant(
      `${name}/tsconfig.json`,
      JSON.stringify({
        extends: core,
        compilerOptions: options,
        include: ['*.ts'],
        references: [],
      }),
    );
    for (const [index, [text]] of IMPURE.entries()) await plant(`${name}/impure-${index}.ts`, text);
    await plant(`${name}/pure.ts`, 'export const roots: readonly number[] = [Math.sqrt(4)];');
    const printed = await output('tsc', ['-p', name]);
    for (const [index, [, what]] of IMPURE.entries()) {
      expect(printed).toMatch(new RegExp(`impure-${index}\\.ts.* error TS.*${what}`));
    }
    expect(printed).not.toContain('/pure.ts');
  });
});

test('lint refuses clocks, randomness, timers and foreign imports in a core', async () => {
  await cp(join(ROOT, '.oxlintrc.json'), join(folder, '.oxlintrc.json'));
  const core = 'packages/scheduler/src/core';
  await plant(`${core}/clock.ts`, 'export const a: number = Date.now();');
  await plant(`${core}/dice.ts`, 'export const a: number = Math.random();');
  await plant(`${core}/timer.ts`, 'globalThis.setTimeout(() => {}, 1);');
  await plant(`${core}/promise.ts`, 'export const a: unknown = Promise.resolve(1);');
  await plant(`${core}/module.ts`, "import 'node:fs';");
  await plant(`${core}/package.ts`, "import 'ws';");
  await plant(`${core}/shells.ts`, "import { a } from '@farm/protocol';\nexport const b = a;");
  await plant(
    `${core}/pure.ts`,
    "import { FarmError } from '@farm/protocol/core';\nexport const a = FarmError;",
  );
  await plant('packages/client/src/direction.ts', "import '@farm/scheduler';");
  const printed = await output('oxlint', ['--format=unix', 'packages']);
  const impure = ['clock', 'dice', 'timer', 'promise', 'module', 'package', 'shells'];
  for (const file of [...impure.map((each) => `core/${each}.ts`), 'src/direction.ts']) {
    expect(printed).toContain(`${file}:`);
  }
  expect(printed).not.toContain('pure.ts');
});

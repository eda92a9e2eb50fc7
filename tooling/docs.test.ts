import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { promisify } from 'node:util';

import { Client, Command, Future } from '@farm/client';
import { LocalCluster } from '@farm/cluster';
import { LIMITS } from '@farm/protocol';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { missingTests } from './named-tests.ts';
import { codeBlocks, deadLinks, missingPaths, rowNames, type MarkdownFile } from './markdown.ts';

const ROOT = join(import.meta.dirname, '..');
const run = promisify(execFile);

function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8');
}

function document(path: string): MarkdownFile {
  return { path, text: readText(path) };
}

/** Every document of the repository, those that are not committed yet included. */
async function documents(): Promise<readonly MarkdownFile[]> {
  const args = ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'];
  const { stdout } = await run('git', args, { cwd: ROOT });
  return stdout.trim().split('\n').map(document);
}

/** Names of the members of an interface. */
function membersOf(path: string, name: string): readonly string[] {
  const body = new RegExp(`^export interface ${name}\\b[^{]*\\{([\\s\\S]*?)^\\}`, 'm').exec(
    readText(path),
  )?.[1];
  if (body === undefined) throw new Error(`${path} has no interface ${name}`);
  return [...body.matchAll(/^ {2}readonly (\w+)\??:/gm)].map((match) => match[1] ?? '');
}

/** Names that an index file exports. */
function exportsOf(path: string): readonly string[] {
  const lists = [...readText(path).matchAll(/^export (?:type )?\{([^}]*)\}/gm)];
  return lists.flatMap((match) => (match[1] ?? '').match(/\w+/g) ?? []);
}

/** Those of the names that do not stand in code in a text. */
function absentFrom(text: string, names: readonly string[]): readonly string[] {
  const code = [...text.matchAll(/^```[\s\S]*?^```$|`[^`\n]+`/gm)]
    .map(([match]) => match)
    .join('\n');
  return names.filter((name) => !new RegExp(`(?<![\\w-])${name}(?![\\w-])`).test(code));
}

function section(text: string, heading: string): string {
  const from = text.indexOf(`\n## ${heading}\n`);
  if (from === -1) throw new Error(`there is no section ${heading}`);
  const to = text.indexOf('\n## ', from + 1);
  return text.slice(from, to === -1 ? undefined : to);
}

describe('the documents say what there is', () => {
  test('errors.md has one row for each code', () => {
    const declared = readText('packages/protocol/src/core/errors.ts').matchAll(
      /^ {2}\| '(ERR_\w+)'/gm,
    );
    const codes = [...declared].map((match) => match[1] ?? '');
    expect(codes.length).toBeGreaterThan(20);
    const rows = rowNames(readText('docs/errors.md')).filter((name) => name.startsWith('ERR_'));
    expect(rows.toSorted()).toEqual(codes.toSorted());
  });

  test('limits.md has one row for each limit, with its value', () => {
    const rows = readText('docs/limits.md').matchAll(/^\| `(\w+)` \| ([\d,]+) \|/gm);
    const documented = [...rows].map(([, name, value = '']) => [
      name,
      Number(value.replaceAll(',', '')),
    ]);
    expect(Object.fromEntries(documented)).toEqual(LIMITS);
  });

  test.each(['farm-scheduler', 'farm-worker'])(
    'cli.md has one row for each flag of %s, with its variable',
    async (name) => {
      const bin = join(ROOT, 'node_modules', '.bin', name);
      const { stdout } = await run(process.execPath, [bin, '--help'], { cwd: ROOT });
      // A term behind two blanks begins each option; variables may stand on a line of their own.
      const flags = [...stdout.matchAll(/^ {2}--(\[no-\])?([\w-]+)/gm)]
        .flatMap(([, opposite, flag]) =>
          opposite === undefined ? [`--${flag}`] : [`--${flag}`, `--no-${flag}`],
        )
        .filter((flag) => flag !== '--version');
      for (const line of stdout.split('\n')) expect(line.length).toBeLessThanOrEqual(80);
      const variables = [...stdout.matchAll(/env:\s+(\w+)/g)].map((match) => match[1] ?? '');
      expect(variables.length).toBeGreaterThan(8);
      const text = section(readText('docs/cli.md'), name);
      const rows = rowNames(text).map((cell) => String(cell.split(' ')[0]));
      expect(rows.toSorted()).toEqual(flags.toSorted());
      expect(absentFrom(text, variables)).toEqual([]);
    },
  );

  test.each([
    ['packages/client/src/client-options.ts', 'ClientOptions'],
    ['packages/client/src/task-options.ts', 'SubmitOptions'],
    ['packages/client/src/command.ts', 'CommandOptions'],
    ['packages/client/src/gather.ts', 'GatherOptions'],
    ['packages/client/src/wait.ts', 'WaitOptions'],
    ['packages/client/src/wait.ts', 'Waited'],
    ['packages/client/src/as-completed.ts', 'AsCompletedOptions'],
    ['packages/client/src/deadline.ts', 'WaitLimits'],
    ['packages/client/src/failures.ts', 'TaskFailure'],
    ['packages/cluster/src/local-cluster.ts', 'LocalClusterOptions'],
  ])('api.md names every member in %s of %s', (path, name) => {
    const members = membersOf(path, name);
    expect(members.length).toBeGreaterThan(0);
    expect(absentFrom(readText('docs/api.md'), members)).toEqual([]);
  });

  test.each([
    'packages/client/src/index.ts',
    'packages/cluster/src/index.ts',
    'packages/worker/src/task.ts',
  ])('api.md names every export of %s', (path) => {
    const names = exportsOf(path);
    expect(names.length).toBeGreaterThan(1);
    expect(absentFrom(readText('docs/api.md'), names)).toEqual([]);
  });

  test.each([
    ['Client', Client.prototype],
    ['Submitter', Object.getPrototypeOf(Client.prototype)],
    ['Future', Future.prototype],
    ['Command', Command.prototype],
    ['LocalCluster', LocalCluster.prototype],
  ])('api.md names every method of %s', (_name, prototype: object) => {
    const names = Object.getOwnPropertyNames(prototype).filter(
      (name) => name !== 'constructor' && name !== 'toString',
    );
    expect(absentFrom(readText('docs/api.md'), names)).toEqual([]);
  });

  test('states.md names every state and exactly the edges there are', () => {
    const source = readText('packages/scheduler/src/core/transitions.ts');
    const table = /const EDGES[^=]*= \{([\s\S]*?)^\};/m.exec(source)?.[1] ?? '';
    const edges = [...table.matchAll(/^ {2}'?([\w-]+)'?: \{([\s\S]*?)\},$/gm)].flatMap(
      ([, from = '', targets = '']) =>
        [...targets.matchAll(/'?([\w-]+)'?: \w/g)].map((match) => `${from} → ${match[1]}`),
    );
    // What workers report and placement decides moves a task without the table.
    edges.push('queued → processing', 'processing → memory');
    edges.push('processing → erred', 'processing → waiting', 'waiting → memory');
    const rows = readText('docs/internals/states.md').matchAll(/^\| (`.*?) \| (`.*?) \| .* \|$/gm);
    const namesIn = (cell: string): string[] =>
      [...cell.matchAll(/`([\w-]+)`/g)].map((m) => m[1] ?? '');
    const documented = [...rows].flatMap(([, from = '', to = '']) =>
      namesIn(from).flatMap((one) => namesIn(to).map((other) => `${one} → ${other}`)),
    );
    expect([...new Set(documented)].toSorted()).toEqual(edges.toSorted());
  });

  test('protocol.md has one row for each message', () => {
    const core = 'packages/protocol/src/core';
    const files = readdirSync(join(ROOT, core), { recursive: true, encoding: 'utf8' });
    const source = files
      .filter((file) => /^messages(\/.*)?\.ts$/.test(file))
      .map((file) => readText(join(core, file)))
      .join('\n');
    const ops = [...source.matchAll(/readonly op: '([\w-]+)'/g)].map((match) => match[1] ?? '');
    const handshake = new Set(['hello', 'welcome', 'refusal']);
    const rows = rowNames(section(readText('docs/internals/protocol.md'), 'Who says what'));
    const wanted = new Set(ops.filter((op) => !handshake.has(op)));
    expect([...new Set(rows)].toSorted()).toEqual([...wanted].toSorted());
  });
});

test('every link and every path in the documents leads somewhere', async () => {
  const files = await documents();
  expect(files.length).toBeGreaterThan(10);
  const faults = files.flatMap((file) =>
    deadLinks(file, ROOT, readText).concat(missingPaths(file, ROOT)),
  );
  expect(faults).toEqual([]);
});

test.each(['docs/internals/behaviours.md', 'docs/internals/evidence.md'])(
  'every test that %s names is there',
  (path) => {
    expect(missingTests(document(path), ROOT, readText)).toEqual([]);
  },
);

test('a test that is not there is found out', () => {
  const rows = [
    '`docs.test.ts`: a test that is not there is found out; every test that',
    '`docs.test.ts`',
    '`docs.test.ts`: no such test',
    '`docs.test.ts`: a test that is not there is found out; nor this; `markdown.test.ts`: x',
    'nothing at all',
  ].map((cell) => `| Says | ${cell} |\n`);
  const text = `## A\n\nTests are in \`tooling\`.\n\n| What | Test |\n|---|---|\n${rows.join('')}`;
  const faults = missingTests({ path: 'a.md', text }, ROOT, readText);
  expect(faults.map((fault) => fault.slice(fault.indexOf('…') + 2))).toEqual([
    'tooling/docs.test.ts has no test “no such test”',
    'no tooling/markdown.test.ts',
    'tooling/docs.test.ts has no test “a test that is not there is found out; nor this”',
    'names no test',
  ]);
});

describe('the programs in the documents', () => {
  const programs = ['README.md', 'docs/api.md', 'docs/errors.md']
    .flatMap((path) => codeBlocks(document(path)))
    .filter(({ language }) => language === 'ts')
    .map(({ place, code }, index) => ({ place, code, file: `program-${index}.ts` }));
  let folder = '';
  let cluster: LocalCluster | undefined;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'farm-docs-'));
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
    for (const { file, code } of programs) await writeFile(join(folder, file), code);
    const options = { workers: 1, threadsPerWorker: 2, dashboardAddress: null, showOutput: false };
    cluster = await LocalCluster.start(options);
    await writeFile(join(folder, 'scheduler.json'), await readFile(cluster.schedulerFile), {
      mode: 0o600,
    });
  });
  afterAll(async () => {
    await cluster?.close();
    await rm(folder, { recursive: true, force: true });
  });

  test('have the right types', async () => {
    const config = {
      extends: join(ROOT, 'tsconfig.base.json'),
      compilerOptions: {
        composite: false,
        noEmit: true,
        declaration: false,
        declarationMap: false,
        isolatedDeclarations: false,
        rewriteRelativeImportExtensions: false,
        allowImportingTsExtensions: true,
        noUnusedLocals: false,
        types: ['node'],
      },
      files: programs.map(({ file }) => file),
    };
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config));
    await writeFile(join(folder, 'package.json'), JSON.stringify({ type: 'module' }));
    const tsc = join(ROOT, 'node_modules', '.bin', 'tsc');
    const checked = run(process.execPath, [tsc, '-p', folder], { cwd: folder });
    const problems = await checked.then(
      () => '',
      (error: unknown) =>
        String(error instanceof Error && 'stdout' in error ? error.stdout : error),
    );
    expect(problems).toBe('');
  });

  test.each(programs)('$place runs and prints what it says', async ({ place, code, file }) => {
    // The first script of the README reads files of the repository.
    const cwd = basename(place).startsWith('README') ? ROOT : folder;
    const args = ['--conditions=@farm/source', join(folder, file)];
    const { stdout } = await run(process.execPath, args, { cwd });
    const promised = [...code.matchAll(/\/\/ → (.*)$/gm)].map((match) => match[1] ?? '');
    const printed = stdout.trim().split('\n');
    if (cwd === ROOT) expect(printed[0]).toBe('[ 0, 1, 4, 9 ] 14');
    else expect(printed).toEqual(promised);
  });
});

/** Every row of `docs/misbehaviour.md` names tests, and those exist. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const DOCS = join(import.meta.dirname, '..', 'docs');

interface Row {
  readonly what: string;
  readonly tests: readonly { readonly name: string; readonly path: string }[];
}

function rowsOf(markdown: string): readonly Row[] {
  const lines = markdown.split('\n').filter((line) => /^\| (?!What it does)/.test(line));
  return lines.map((line) => {
    const cells = line.split(' | ');
    const links = [...(cells.at(-1) ?? '').matchAll(/\[([^\]]+)\]\(([^)]+\.test\.ts)\)/g)];
    const tests = links.map(([, name = '', path = '']) => ({ name, path }));
    return { what: cells[0]?.slice(2) ?? '', tests };
  });
}

/** What is wrong with a row. */
function faults({ what, tests }: Row): readonly string[] {
  if (tests.length === 0) return [`no test: ${what}`];
  return tests.flatMap(({ name, path }) => {
    const file = join(DOCS, path);
    if (!existsSync(file)) return [`no file ${path}: ${what}`];
    return readFileSync(file, 'utf8').includes(`'${name}'`) ? [] : [`no test "${name}": ${what}`];
  });
}

test('every way to misbehave has a test that exists', () => {
  const rows = rowsOf(readFileSync(join(DOCS, 'misbehaviour.md'), 'utf8'));
  expect(rows.length).toBeGreaterThan(40);
  expect(rows.flatMap(faults)).toEqual([]);
});

test('a row without a test, or with one that is gone, is noticed', () => {
  const path = '../tooling/misbehaviour.test.ts';
  const rows = rowsOf(
    [
      '| What it does | How it ends | Test |',
      '|---|---|---|',
      '| nothing | never | none |',
      `| explodes | loudly | [never written](${path}) |`,
      '| flees | quietly | [x](../no/such.test.ts) |',
      `| fine | well | [every way to misbehave has a test that exists](${path}) |`,
    ].join('\n'),
  );
  expect(rows.flatMap(faults)).toEqual([
    'no test: nothing',
    'no test "never written": explodes',
    'no file ../no/such.test.ts: flees',
  ]);
});

import { existsSync } from 'node:fs';
import { join } from 'node:path';

import { type MarkdownFile, proseOf } from './markdown.ts';

/** Tests that a row of a table names, as text: file and titles. */
interface Row {
  readonly line: string;
  readonly files: readonly { readonly path: string; readonly titles: string }[];
}

/** Titles of a file of tests: those of tests and groups, and of tests after that of any group. */
function titlesOf(source: string): ReadonlySet<string> {
  const calls = /^\s*(describe|test|it)(?:\.\w+)*\(\s*(['"`])((?:\\.|(?!\2).)*)\2/gm;
  // The title of one with cases comes behind them.
  const tables = /[\]\w]\)\(\s*(['"`])((?:\\.|(?!\1).)*)\1/g;
  const found = [...source.matchAll(calls)].map(([, kind = '', , title = '']) => ({ kind, title }));
  const titles = [...source.matchAll(tables)].map(([, , title = '']) => title);
  const groups = found.filter(({ kind }) => kind === 'describe').map(({ title }) => title);
  titles.push(...found.map(({ title }) => title));
  // Of those with cases, also what comes before the case.
  titles.push(...titles.map((title) => title.replace(/[:,]? %.*$/, '')));
  const full = groups.flatMap((group) => titles.map((title) => `${group} ${title}`));
  return new Set([...titles, ...full].map((title) => title.replaceAll(/\\(.)/g, '$1')));
}

/** Whether a text is titles with semicolons between them; they may hold some themselves. */
function isListOf(titles: ReadonlySet<string>, text: string): boolean {
  if (titles.has(text)) return true;
  for (let at = text.indexOf('; '); at !== -1; at = text.indexOf('; ', at + 1)) {
    if (titles.has(text.slice(0, at)) && isListOf(titles, text.slice(at + 2))) return true;
  }
  return false;
}

/** Rows of the tables of a section whose last column is about tests. */
function rowsOf(section: string): readonly Row[] {
  const tables = section.matchAll(/^\|[^\n]*\| Test \|\n\|[-|]+\|\n((?:\|.*\n)+)/gm);
  // Files, or one folder, that the section says its tests are in.
  const intro = /^.*?Tests are in\s([\s\S]*?)\.(?:\s|$)/m.exec(section)?.[1] ?? '';
  const places = [...intro.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
  const [first = ''] = places;
  const folder = first.endsWith('.ts') ? first.slice(0, first.lastIndexOf('/')) : first;
  const inFolder = (path: string): string =>
    /^(packages|sim)\//.test(path) ? path : `${folder}/${path}`;
  return [...tables].flatMap(([, body = '']) =>
    body
      .trimEnd()
      .split('\n')
      .map((line) => {
        const cell =
          line
            .split(' | ')
            .at(-1)
            ?.replace(/\s*\|$/, '') ?? '';
        const named = [...cell.matchAll(/`([^`]+\.test\.ts)`(?:: (.*?))?(?=$|[;,] `)/g)];
        const files = named.map(([, path = '', titles = '']) => ({ path: inFolder(path), titles }));
        if (files.length > 0 || places.every((place) => !place.endsWith('.ts')))
          return { line, files };
        // Without a file, it is one of those of the section.
        return { line, files: places.map((path) => ({ path: inFolder(path), titles: cell })) };
      }),
  );
}

/**
 * Tests that the tables of a document name in their last column, `Test`, and that are not there.
 * A cell is `file.test.ts`: one title; another; `other.test.ts`: … Without titles the whole file
 * is meant; without a file, one of those that the section says its tests are in.
 */
export function missingTests(
  file: MarkdownFile,
  root: string,
  readText: (path: string) => string,
): readonly string[] {
  const known = new Map<string, ReadonlySet<string>>();
  const titlesIn = (path: string): ReadonlySet<string> => {
    const titles = known.get(path) ?? titlesOf(readText(path));
    known.set(path, titles);
    return titles;
  };
  const faults: string[] = [];
  for (const section of proseOf(file).split(/^(?=## )/m)) {
    for (const { line, files } of rowsOf(section)) {
      const about = `${file.path}: ${line.slice(0, 90)}…`;
      if (files.length === 0) faults.push(`${about} names no test`);
      const there = files.filter(({ path }) => existsSync(join(root, path)));
      for (const one of files) if (!there.includes(one)) faults.push(`${about} no ${one.path}`);
      const isAnyOf = files.length > 1 && new Set(files.map(({ titles }) => titles)).size === 1;
      const wrong = there.filter(
        ({ path, titles }) => titles !== '' && !isListOf(titlesIn(path), titles),
      );
      if (isAnyOf && wrong.length < there.length) continue;
      for (const { path, titles } of wrong) faults.push(`${about} ${path} has no test “${titles}”`);
    }
  }
  return faults;
}

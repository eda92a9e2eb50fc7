/** Goal: what is written is an archive that tar takes, whatever happens to the files meanwhile. */
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  mkdirSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { tarOf } from '../../src/shell/plugins/builtin/tar-writer.ts';

let directory: string;
let tree: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'farm-tar-'));
  tree = join(directory, 'tree');
  mkdirSync(tree);
});

afterEach(async () => {
  await rm(directory, { recursive: true, force: true });
});

async function archive(
  skip: (path: string) => boolean = () => false,
  meanwhile: (bytes: number) => void = () => {},
): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of tarOf(tree, skip)) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
    meanwhile(bytes);
  }
  const file = join(directory, 'out.tar');
  await writeFile(file, Buffer.concat(chunks));
  return file;
}

function tar(...args: readonly string[]): string {
  return execFileSync('tar', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}

test('names, contents, modes, times, links and empty directories come back', async () => {
  const long = 'n'.repeat(120);
  mkdirSync(join(tree, 'inner', 'empty'), { recursive: true });
  mkdirSync(join(tree, long));
  writeFileSync(join(tree, 'inner', 'run.sh'), '#!/bin/sh\n', { mode: 0o754 });
  writeFileSync(join(tree, long, 'größe 1'), 'x'.repeat(1_000));
  writeFileSync(join(tree, 'nothing'), '');
  utimesSync(join(tree, 'nothing'), 1_000_000_000, 1_000_000_000);
  symlinkSync('inner/run.sh', join(tree, 'link'));
  symlinkSync(`${'deep/'.repeat(30)}target`, join(tree, 'long-link'));
  const file = await archive();
  const copy = join(directory, 'copy');
  mkdirSync(copy);
  tar('-xf', file, '-C', copy);
  execFileSync('diff', ['-r', '--no-dereference', tree, copy]);
  const listed = tar('-tvf', file, '--utc', '--full-time');
  expect(listed).toMatch(/^-rwxr-xr-- .* \.\/inner\/run\.sh$/m);
  expect(listed).toMatch(/2001-09-09 01:46:40 \.\/nothing$/m);
});

test('files that grow, shrink or vanish while they are read leave it whole', async () => {
  for (const name of ['a', 'b', 'c', 'd']) writeFileSync(join(tree, name), name.repeat(600_000));
  let isDone = false;
  const file = await archive(undefined, (bytes) => {
    if (isDone || bytes < 300_000) return;
    isDone = true;
    truncateSync(join(tree, 'a'), 10);
    appendFileSync(join(tree, 'b'), 'more');
    execFileSync('rm', [join(tree, 'c')]);
  });
  const names = tar('-tf', file).trim().split('\n');
  expect(names).toEqual(['./', './a', './b', './d']);
  expect(tar('-xOf', file, './d')).toBe('d'.repeat(600_000));
  expect(tar('-xOf', file, './a')).toHaveLength(600_000);
  const { byteLength } = await readFile(file);
  expect(byteLength % 512).toBe(0);
});

test('what is to be skipped, and what is neither file nor link nor directory, is left out', async () => {
  writeFileSync(join(tree, 'keep'), 'x');
  writeFileSync(join(tree, 'skip'), 'x');
  execFileSync('mkfifo', [join(tree, 'fifo')]);
  const file = await archive((path) => path === join(tree, 'skip'));
  expect(tar('-tf', file).trim().split('\n')).toEqual(['./', './keep']);
});

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { basename, join } from 'node:path';

import { afterEach, beforeEach, expect, test } from 'vitest';

import { makeLocalDirectory } from '../../src/shell/local-directory.ts';

let parent: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'farm-local-'));
});
afterEach(() => rmSync(parent, { recursive: true, force: true }));

test('each worker has one of its own, removed with all that is in it', () => {
  const one = makeLocalDirectory(join(parent, 'made', 'too'), 'w');
  const two = makeLocalDirectory(join(parent, 'made', 'too'), 'w');
  expect(one.path).not.toBe(two.path);
  writeFileSync(join(one.path, 'file'), '');
  one.remove();
  one.remove();
  expect([existsSync(one.path), existsSync(two.path)]).toEqual([false, true]);
});

test('those of dead workers of this host are removed, no others', () => {
  const { pid: deadPid } = spawnSync(process.execPath, ['-e', '']);
  const mine = makeLocalDirectory(parent, 'a-b/c');
  const dead = mine.path.replace(`-${process.pid}-`, `-${deadPid}-`);
  const host = hostname().replace(/[^\w.]+/g, '_');
  const elsewhere = dead.replace(`-${host}-`, '-another_host-');
  const unrelated = join(parent, 'results');
  for (const path of [dead, elsewhere, unrelated]) mkdirSync(path);
  makeLocalDirectory(parent, 'd');
  expect([mine.path, dead, elsewhere, unrelated].map(existsSync)).toEqual([
    true,
    false,
    true,
    true,
  ]);
  expect(basename(mine.path)).toMatch(/^farm-worker-a_b_c-/);
});

test('one that cannot be made is refused by its absolute name', () => {
  writeFileSync(join(parent, 'file'), '');
  expect(() => makeLocalDirectory(join(parent, 'file'), 'w')).toThrow(
    `--local-directory ${join(parent, 'file')} cannot be used`,
  );
});

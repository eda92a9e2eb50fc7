import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { basename, join } from 'node:path';

import { afterEach, beforeEach, describe, expect, test } from 'vitest';

import { hasEnded, identityOf, type IdentitySource } from '../../src/shell/process-identity.ts';
import { makeLocalDirectory, purgeLocalDirectories } from '../../src/shell/local-directory.ts';

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
  const dead = mine.path.replace(`-${process.pid}.`, `-${deadPid}.`);
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

test.runIf(process.platform === 'linux')('one below a directory that takes none is refused', () => {
  for (const path of ['/proc/x', '/proc/x/y/z']) {
    expect(() => makeLocalDirectory(path, 'w')).toThrow(
      `--local-directory ${path} cannot be used: ENOENT: no such file or directory, mkdir '/proc/x'`,
    );
  }
});

test('where there is nothing to purge nothing happens', () => {
  expect(() => purgeLocalDirectories(join(parent, 'missing'))).not.toThrow();
});

describe('the identity of a process', () => {
  const stat = (ticks: number): string => `7 (a) b) S ${'0 '.repeat(18)}${ticks} 0`;
  const machine = (ticks: number | null, namespace = 5, kernel = 'a1'): IdentitySource => ({
    readText: (path) => (path === '7/stat' && ticks !== null ? stat(ticks) : undefined),
    namespace: () => namespace,
    kernel: () => kernel,
    exists: (pid) => pid === 7 && ticks !== null,
  });

  test('is gone with it, also where its id was given to another', () => {
    const identity = identityOf(7, machine(900));
    expect(identity).toBe('7.900.5.a1');
    expect(hasEnded(identity, machine(900))).toBe(false);
    expect(hasEnded(identity, machine(901))).toBe(true);
    expect(hasEnded(identity, machine(null))).toBe(true);
  });

  test('of another container tells nothing, nor does one that cannot be looked up', () => {
    expect(hasEnded('7.900.6.a1', machine(null))).toBe(false);
    expect(hasEnded('farm', machine(null))).toBe(false);
    expect(hasEnded('7.900.5.a1', machine(null, 5, 'b2'))).toBe(false);
    const blind = { ...machine(900), readText: () => undefined };
    expect(identityOf(7, blind)).toBe('7.0.5.a1');
    expect(hasEnded('7.900.5.a1', blind)).toBe(false);
    expect(hasEnded('7.0.5.a1', machine(900))).toBe(false);
  });

  test('is that of this very process', () => {
    expect(hasEnded(identityOf(process.pid))).toBe(false);
  });
});

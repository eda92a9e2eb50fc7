import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';

import type { CommandFunction, CommandResult, CommandStage, StageOut } from '@farm/protocol';
import { cancelled, Harness } from './executor-harness.ts';

/** A worker's directory with inputs, its local directory, and a place for outputs. */
interface Site {
  readonly base: string;
  readonly local: string;
  readonly kept: string;
  readonly harness: Harness;
}

function aSite(): Site {
  const base = realpathSync(mkdtempSync(join(tmpdir(), 'farm-test-')));
  onTestFinished(() => rmSync(base, { recursive: true, force: true }));
  mkdirSync(join(base, 'in', 'tree', 'deep'), { recursive: true });
  mkdirSync(join(base, 'workers', 'w-1'), { recursive: true });
  writeFileSync(join(base, 'in', 'a.txt'), 'input a\n');
  writeFileSync(join(base, 'in', 'wrapper.sh'), '#!/bin/sh\nexec "$@"\n');
  chmodSync(join(base, 'in', 'wrapper.sh'), 0o755);
  writeFileSync(join(base, 'in', 'tree', 'deep', 'b'), 'b');
  chmodSync(join(base, 'in', 'tree', 'deep', 'b'), 0o640);
  chmodSync(join(base, 'in', 'tree', 'deep'), 0o750);
  symlinkSync('deep/b', join(base, 'in', 'tree', 'link'));
  const local = join(base, 'workers', 'w-1');
  const harness = new Harness({ cwd: base, commandSite: { directory: local } });
  onTestFinished(() => harness.executor.close());
  return { base, local, kept: join(base, 'workers', 'kept-tasks'), harness };
}

function staged(
  { harness }: Site,
  stage: Partial<CommandStage>,
  script: string,
  more: Partial<CommandFunction> = {},
): number {
  const args = ['-c', script, 'sh', { arg: 0 }];
  const all = { directory: null, in: [], out: [], remove: 'on-success', ...stage } as const;
  return harness.command({ args, name: 'sim', stage: all, ...more });
}

function out(from: StageOut['from'], to: StageOut['to'], optional = false): StageOut {
  return { from, to, optional };
}

async function call({ harness }: Site, fn: number, ...args: unknown[]): Promise<CommandResult> {
  // SAFE: this is what commands result in.
  return (await harness.call(fn, ...args)) as CommandResult;
}

function running({ local }: Site): string[] {
  const path = join(local, 'tasks');
  return existsSync(path) ? readdirSync(path) : [];
}

describe('bringing', () => {
  test('files and trees come with their modes and links, into a directory of the attempt', async () => {
    const site = aSite();
    const inputs = [
      { from: ['in/', { arg: 0 }, '.txt'], to: null, link: false },
      { from: 'in/wrapper.sh', to: null, link: false },
      { from: 'in/tree', to: 'sub/copy', link: false },
      { from: 'in/tree', to: 'linked', link: true },
    ];
    const script =
      'pwd; [ "$PWD" = "$FARM_DIRECTORY" ] && cat $1.txt; ./wrapper.sh stat -c "%a %F" ' +
      'wrapper.sh sub/copy/deep sub/copy/deep/b sub/copy/link linked; readlink sub/copy/link';
    const { stdout } = await call(site, staged(site, { in: inputs }, script), 'a');
    const [pwd, ...rest] = stdout.trim().split('\n');
    expect(pwd).toMatch(new RegExp(`^${site.local}/tasks/task-1-1-[0-9a-f]{8}$`));
    expect(rest).toEqual([
      'input a',
      '755 regular file',
      '750 directory',
      '640 regular file',
      '777 symbolic link',
      '777 symbolic link',
      'deep/b',
    ]);
    expect(running(site)).toEqual([]);
  });

  test('an input that is missing is an error that names it, and leaves nothing', async () => {
    const site = aSite();
    const fn = staged(site, { in: [{ from: { arg: 0 }, to: null, link: false }] }, 'true');
    const failure = await site.harness.failure(fn, 'in/none.txt');
    expect(failure.code).toBe('ERR_STAGE');
    expect(failure.message).toContain(`sim: its input ${site.base}/in/none.txt does not exist`);
    expect(running(site)).toEqual([]);
  });

  test('what is no file, link or directory is refused', async () => {
    const site = aSite();
    spawnSync('mkfifo', [join(site.base, 'in', 'tree', 'pipe')]);
    const fn = staged(site, { in: [{ from: 'in/tree', to: null, link: false }] }, 'true');
    const failure = await site.harness.failure(fn, 'x');
    expect(failure.message).toContain(
      'tree/pipe is neither a file, a symbolic link nor a directory',
    );
  });

  test('an interrupt ends a copy', async () => {
    const site = aSite();
    spawnSync('truncate', ['-s', '4G', join(site.base, 'in', 'big')]);
    const fn = staged(site, { in: [{ from: 'in/big', to: null, link: false }] }, 'true');
    const run = site.harness.start(fn, ['x']);
    const copy = (): string | undefined => running(site)[0];
    await site.harness.until(() => {
      const name = copy();
      return name !== undefined && existsSync(join(site.local, 'tasks', name, 'big'));
    }, 'the copy to begin');
    expect(site.harness.executor.interrupt(0, run, cancelled())).toBe(true);
    await site.harness.until(() => site.harness.emptied.length > 0, 'the slot to be emptied');
    expect(running(site)).toEqual([]);
  });
});

describe('taking', () => {
  test('results get their names from the task and from the match', async () => {
    const site = aSite();
    const script = 'mkdir r; echo 1 > r/x.dat; echo 2 > r/y.dat; chmod 640 r/x.dat; echo log > log';
    const fn = staged(
      site,
      {
        out: [
          out('r/*.dat', 'done/{index}-{stem}-{attempt}{ext}'),
          out('r', ['trees/', { arg: 0 }, '/']),
          out('log', ['done/', { arg: 0 }, '.log']),
          out('none*', 'done/', true),
        ],
      },
      script,
    );
    const { outputs } = await call(site, fn, '{key}');
    const paths = ['done/1-x-1.dat', 'done/1-y-1.dat', 'trees/{key}/r', 'done/{key}.log'];
    expect(outputs).toEqual(paths.map((path) => join(site.base, path)));
    expect(readFileSync(join(site.base, 'done/1-y-1.dat'), 'utf8')).toBe('2\n');
    expect(statSync(join(site.base, 'done/1-x-1.dat')).mode & 0o777).toBe(0o640);
    expect(readdirSync(join(site.base, 'trees/{key}/r'))).toEqual(['x.dat', 'y.dat']);
    expect(readdirSync(join(site.base, 'done')).toSorted()).toHaveLength(3);
    expect(running(site)).toEqual([]);
  });

  test('a result replaces what an earlier attempt left, a file or a tree', async () => {
    const site = aSite();
    const stage = { out: [out('f', 'done/f'), out('d', 'done/d')] };
    const fn = staged(site, stage, 'echo $1 > f; mkdir d; echo $1 > d/$1');
    await call(site, fn, 'one');
    await call(site, fn, 'two');
    expect(readFileSync(join(site.base, 'done/f'), 'utf8')).toBe('two\n');
    expect(readdirSync(join(site.base, 'done/d'))).toEqual(['two']);
    expect(readdirSync(join(site.base, 'done')).toSorted()).toEqual(['d', 'f']);
  });

  test('a result that is missing fails the task, which did not do what it should', async () => {
    const site = aSite();
    const failure = await site.harness.failure(
      staged(site, { out: [out('*.dat', 'done/')] }, 'echo nothing > other.txt'),
      'x',
    );
    expect(failure.code).toBe('ERR_STAGE');
    expect(failure.message).toMatch(/nothing in .* matches \*\.dat; its directory is kept: .*:\//);
    expect(readdirSync(site.kept)).toHaveLength(1);
  });

  test('two matches under one name are refused', async () => {
    const site = aSite();
    const fn = staged(site, { out: [out('*.dat', 'done/result')] }, 'touch a.dat b.dat');
    const failure = await site.harness.failure(fn, 'x');
    expect(failure.message).toContain(`several matches of *.dat would become ${site.base}/done/`);
    expect(existsSync(join(site.base, 'done'))).toBe(false);
  });

  test('a destination that cannot be written is named, and nothing half is left', async () => {
    const site = aSite();
    writeFileSync(join(site.base, 'file'), '');
    const fn = staged(site, { out: [out('r', 'file/r')] }, 'touch r');
    const failure = await site.harness.failure(fn, 'x');
    expect(failure.code).toBe('ERR_STAGE');
    expect(failure.message).toMatch(/its output .*\/r could not become .*\/file\/r: /);
  });

  test.runIf(existsSync('/dev/full') && process.getuid?.() === 0)(
    'a full disk is an error that says so, and leaves nothing half',
    async () => {
      const site = aSite();
      const small = join(site.base, 'small');
      mkdirSync(small);
      const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small]);
      if (mounted.status !== 0) return;
      onTestFinished(() => void spawnSync('umount', ['-l', small]));
      const fn = staged(site, { out: [out('r', 'small/r')] }, 'head -c 1000000 /dev/zero > r');
      const failure = await site.harness.failure(fn, 'x');
      expect(failure.message).toContain('ENOSPC');
      expect(readdirSync(small)).toEqual([]);
      expect(readdirSync(site.kept)).toHaveLength(1);
    },
  );

  test('a link that leads out of the directory is not followed', async () => {
    const site = aSite();
    const failure = await site.harness.failure(
      staged(site, { out: [out('r/*', 'done/')] }, 'ln -s /etc r'),
      'x',
    );
    expect(failure.message).toContain("it leads out of the command's directory");
  });
});

describe('the directory', () => {
  test.each([
    ['a source path with ..', { in: [{ from: 'in/a.txt', to: '../x', link: false }] }],
    ['an absolute place', { in: [{ from: 'in/a.txt', to: '/tmp/x', link: false }] }],
    ['a pattern with ..', { out: [out('../*', 'done/')] }],
    ['an absolute pattern', { out: [out('/etc/*', 'done/')] }],
    ['a pattern with .. from an argument', { out: [out(['a/', { arg: 0 }], 'done/')] }],
  ])('%s is refused', async (_what, stage) => {
    const site = aSite();
    const failure = await site.harness.failure(staged(site, stage, 'true'), '../..');
    expect(failure.code).toBe('ERR_ARGUMENT');
    expect(failure.message).toContain("leaves the command's directory");
    expect(running(site)).toEqual([]);
  });

  test.each([
    ['always', 0, false],
    ['always', 3, false],
    ['on-success', 0, false],
    ['on-success', 3, true],
    ['never', 0, true],
    ['never', 3, true],
  ] as const)('removed %s, after exit code %i: kept is %s', async (remove, code, isKept) => {
    const site = aSite();
    const stdout = { to: 'file', path: 'out.log', append: false } as const;
    const fn = staged(site, { remove }, 'echo to log; exit $1', { stdout });
    const run = site.harness.start(fn, [code]);
    await site.harness.end(run);
    expect(running(site)).toEqual([]);
    const kept = existsSync(site.kept) ? readdirSync(site.kept) : [];
    expect(kept).toHaveLength(isKept ? 1 : 0);
    const path = join(site.kept, kept[0] ?? '');
    if (isKept) expect(readFileSync(join(path, 'out.log'), 'utf8')).toBe('to log\n');
    const failure = site.harness.failures.get(run);
    if (code === 0) {
      expect(site.harness.results.get(run)).toEqual(
        expect.objectContaining(isKept ? { directory: path } : { exitCode: 0 }),
      );
    } else {
      expect(failure?.code).toBe('ERR_COMMAND');
      expect(failure?.message.includes(`its directory is kept: `)).toBe(isKept);
      if (isKept) expect(failure?.message).toContain(path);
    }
  });

  test('it may be made elsewhere, and is kept where it was made', async () => {
    const site = aSite();
    const fn = staged(site, { directory: ['scratch-', { arg: 0 }] }, 'echo x > log; exit 1');
    const failure = await site.harness.failure(fn, 'a');
    const [name = ''] = readdirSync(join(site.base, 'scratch-a'));
    expect(failure.message).toContain(`:${site.base}/scratch-a/${name}`);
    expect(existsSync(join(site.base, 'scratch-a', name, 'log'))).toBe(true);
  });

  test('a place where none can be made is named', async () => {
    const site = aSite();
    const fn = staged(site, { directory: 'in/a.txt/below' }, 'true');
    const failure = await site.harness.failure(fn, 'a');
    expect(failure.code).toBe('ERR_STAGE');
    expect(failure.message).toContain(`${site.base}/in/a.txt/below/task-1-1`);
  });

  test('links stay links inside what is taken', async () => {
    const site = aSite();
    const fn = staged(site, { out: [out('r', 'done/')] }, 'mkdir r; echo 1 > r/a; ln -s a r/b');
    await call(site, fn, 'x');
    expect(lstatSync(join(site.base, 'done/r/b')).isSymbolicLink()).toBe(true);
    expect(readlinkSync(join(site.base, 'done/r/b'))).toBe('a');
  });
});

/** Ways a command can misbehave that are about more than its own end. */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

import { aCommand, Harness } from './executor-harness.ts';
import { aDirectory } from './command-harness.ts';

async function expectClean(harness: Harness): Promise<void> {
  const fine = harness.define('fine', aCommand({ args: ['-c', 'echo fine'] }));
  expect(await harness.call(fine)).toMatchObject({ exitCode: 0, stdout: 'fine\n' });
}

test('a full disk under its output is its own failure, as the program tells it', async () => {
  await using harness = new Harness();
  const path = '/dev/full';
  const full = harness.command({
    args: ['-c', 'printf x'],
    stdout: { to: 'file', path, append: true },
  });
  const failure = await harness.failure(full);
  expect(failure.code).toBe('ERR_COMMAND');
  await expectClean(harness);
});

test('two that append to one file lose nothing of each other', async () => {
  await using harness = new Harness({ slots: 2 });
  const path = join(aDirectory(), 'both.log');
  const writes = harness.command({
    args: ['-c', 'for i in 1 2 3 4 5 6 7 8 9 10; do echo line; done'],
    stdout: { to: 'file', path, append: true },
  });
  const runs = [0, 1].map((slot) => harness.start(writes, [], { slot }));
  for (const run of runs) await harness.end(run);
  expect(readFileSync(path, 'utf8')).toBe('line\n'.repeat(20));
});

test('a directory that is removed under it is its own affair', async () => {
  await using harness = new Harness();
  const cwd = join(aDirectory(), 'cwd');
  mkdirSync(cwd);
  const removes = harness.command({ args: ['-c', `rmdir "${cwd}" && touch here`], cwd });
  const failure = await harness.failure(removes);
  expect(failure.code).toBe('ERR_COMMAND');
  expect(failure.message).toContain('touch');
  await expectClean(harness);
});

test('one that reads all of its input finds it empty, and one that reads none is not held up', async () => {
  await using harness = new Harness();
  const reads = harness.command({ args: ['-c', 'echo $(wc -c)'] });
  expect(await harness.call(reads)).toMatchObject({ stdout: '0\n' });
  const ignores = harness.command({ args: ['-c', 'echo done'], stdin: 'x'.repeat(5_000_000) });
  expect(await harness.call(ignores)).toMatchObject({ stdout: 'done\n' });
});

test('a million lines at once cost neither the worker nor a neighbour', async () => {
  await using harness = new Harness({ slots: 2 });
  const floods = harness.command({ args: ['-c', 'yes | head -n 1000000'] });
  const flooding = harness.start(floods, [], { slot: 0 });
  const neighbour = harness.start(
    harness.source(() => 'fine'),
    [],
    { slot: 1 },
  );
  await harness.end(neighbour);
  expect(harness.results.get(neighbour)).toBe('fine');
  await harness.end(flooding);
  expect(harness.results.get(flooding)).toMatchObject({ exitCode: 0 });
  await expectClean(harness);
});

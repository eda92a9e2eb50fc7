import { appendFileSync, readdirSync, readFileSync } from 'node:fs';
import { chmodSync, mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

import type { CommandResult } from '@farm/protocol';
import { type OutputRecord, readOutput } from '../../src/index.ts';
import { outputRecord } from '../../src/shell/executors/commands/output/output-record.ts';
import { siteVariables } from '../../src/shell/executors/commands/site-setup.ts';
import { runOutputProgram } from '../../src/shell/output-cli.ts';
import { Harness } from './executor-harness.ts';
import { aDirectory } from './command-harness.ts';

/** Text of each task and stream in a file, in the order of its records. */
async function outputOf(path: string): Promise<Record<string, string>> {
  const texts: Record<string, string> = {};
  for await (const { key, attempt, stream, bytes } of readOutput(path)) {
    const name = `${key} ${attempt} ${stream}`;
    texts[name] = (texts[name] ?? '') + Buffer.from(bytes).toString();
  }
  return texts;
}

async function recordsOf(path: string): Promise<OutputRecord[]> {
  const records: OutputRecord[] = [];
  for await (const record of readOutput(path)) records.push(record);
  return records;
}

async function program(
  ...argv: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  let stdout = '';
  let stderr = '';
  const code = await runOutputProgram({
    argv,
    stdout: (chunk) =>
      (stdout += typeof chunk === 'string' ? chunk : Buffer.from(chunk).toString()),
    stderr: (text) => (stderr += text),
  });
  return { code, stdout, stderr };
}

const stream = { to: 'stream' } as const;

describe.each(['auto', 'node'] as const)('streamed output of commands started by %s', (spawner) => {
  test('is in one file, and is split by task again', async () => {
    const cwd = aDirectory();
    await using harness = new Harness({ cwd, slots: 2, commandSpawner: spawner });
    const script = 'for i in 1 2 3; do echo $1.$i; echo e$1.$i >&2; done';
    const args = ['-c', script, 'sh', { arg: 0 }];
    const loud = harness.command({ args, stdout: stream, stderr: stream });
    const keep = harness.command({ args, stdout: stream });
    const runs = [1, 2, 3, 4].map((n) => harness.start(loud, [n], { slot: n % 2, attempt: n }));
    for (const run of runs) {
      await harness.end(run);
      expect(harness.results.get(run)).toMatchObject({ stdout: '', stderr: '', exitCode: 0 });
    }
    expect(await harness.call(keep, 5)).toMatchObject({ stdout: '', stderr: 'e5.1\ne5.2\ne5.3\n' });
    const files = readdirSync(join(cwd, 'farm-output'));
    expect(files).toHaveLength(1);
    expect(files[0]).toMatch(/^w-1-.*\.farm-output$/);
    const texts = await outputOf(join(cwd, 'farm-output', files[0] ?? ''));
    expect(texts['task-3 3 stdout']).toBe('3.1\n3.2\n3.3\n');
    expect(texts['task-2 2 stderr']).toBe('e2.1\ne2.2\ne2.3\n');
    expect(Object.keys(texts)).toHaveLength(9);
  });

  test('of many megabytes is whole, and does not gather in memory', async () => {
    const cwd = aDirectory();
    await using harness = new Harness({ cwd, commandSpawner: spawner });
    const args = ['-c', 'head -c 50000000 /dev/zero | tr "\\0" x'];
    await harness.call(harness.command({ args, stdout: stream }));
    const [file = ''] = readdirSync(join(cwd, 'farm-output'));
    let length = 0;
    for await (const { bytes } of readOutput(join(cwd, 'farm-output', file)))
      length += bytes.length;
    expect(length).toBe(50_000_000);
  });

  test('that cannot be written fails its task', async () => {
    const cwd = aDirectory();
    writeFileSync(join(cwd, 'farm-output'), 'a file');
    await using harness = new Harness({ cwd, commandSpawner: spawner });
    const failure = await harness.failure(harness.command({ file: 'true', stdout: stream }));
    expect(failure.code).toBe('ERR_STAGE');
    expect(failure.message).toContain(`output could not be streamed to ${cwd}/farm-output/w-1-`);
  });
});

describe('reading', () => {
  const head = { key: 'a\n@farm {', attempt: 1, stream: 'stdout' } as const;
  const odd = Buffer.from('\n@farm {"key":"x","attempt":1,"stream":"stdout","bytes":1}\ny\n');

  test('bytes that look like a record, and keys with anything, are what they are', async () => {
    const path = join(aDirectory(), 'o');
    writeFileSync(path, Buffer.concat([outputRecord(head, odd), outputRecord(head, odd)]));
    const records = await recordsOf(path);
    expect(records).toEqual([
      { ...head, bytes: odd },
      { ...head, bytes: odd },
    ]);
  });

  test('a file cut at any byte gives all whole records before the cut', async () => {
    const path = join(aDirectory(), 'o');
    const chunks = ['one', 'two\n', ''].map((text) =>
      outputRecord({ ...head, key: text }, Buffer.from(text)),
    );
    const whole = Buffer.concat(chunks);
    for (let length = whole.byteLength; length >= 0; length--) {
      writeFileSync(path, whole.subarray(0, length));
      let expected = 0;
      for (let sum = 0; expected < 3; expected++) {
        sum += chunks[expected]?.byteLength ?? 0;
        if (sum > length) break;
      }
      expect(await recordsOf(path)).toHaveLength(expected);
    }
  });

  test('what is torn in the middle costs one record', async () => {
    const path = join(aDirectory(), 'o');
    const record = (key: string): Buffer =>
      outputRecord({ ...head, key }, Buffer.from(`of ${key}`));
    writeFileSync(path, record('a'));
    appendFileSync(path, record('b'));
    truncateSync(path, record('a').byteLength + record('b').byteLength - 4);
    appendFileSync(path, Buffer.concat([Buffer.from('\n'), record('c'), record('d')]));
    const keys = (await recordsOf(path)).map(({ key }) => key);
    expect(keys[0]).toBe('a');
    expect(keys.slice(-2)).toEqual(['c', 'd']);
  });
});

test('farm-output lists tasks, writes one of them, and splits all', async () => {
  const directory = aDirectory();
  const records = [
    outputRecord({ key: 'sim/1', attempt: 1, stream: 'stdout' }, Buffer.from('first\n')),
    outputRecord({ key: 'sim/2', attempt: 1, stream: 'stderr' }, Buffer.from('oops\n')),
    outputRecord({ key: 'sim/1', attempt: 2, stream: 'stdout' }, Buffer.from('again\n')),
  ];
  writeFileSync(join(directory, 'w.farm-output'), Buffer.concat(records));
  expect(await program(directory)).toEqual({
    code: 0,
    stdout: 'key\tattempts\tstdout\tstderr\nsim/1\t1,2\t12\t0\nsim/2\t1\t0\t5\n',
    stderr: '',
  });
  expect((await program('--key', 'sim/1', directory)).stdout).toBe('first\nagain\n');
  expect((await program('--split', join(directory, 'by'), directory)).code).toBe(0);
  expect(readdirSync(join(directory, 'by'))).toEqual(['sim%2F1.stdout', 'sim%2F2.stderr']);
  expect(readFileSync(join(directory, 'by', 'sim%2F1.stdout'), 'utf8')).toBe('first\nagain\n');
  expect((await program()).code).toBe(2);
  expect((await program('--stream', 'both', directory)).code).toBe(2);
  expect(await program(join(directory, 'none'))).toMatchObject({ code: 1 });
});

describe('what is put around commands', () => {
  /** A wrapper that says how it was called, and a command to be wrapped. */
  function wrappers(): string {
    const directory = aDirectory();
    mkdirSync(join(directory, 'bin'));
    const wrapper = join(directory, 'bin', 'apptainer');
    writeFileSync(wrapper, '#!/bin/sh\necho "${0##*/} $1 $2 <$FARM_KEY>"\nshift 2\nexec "$@"\n');
    chmodSync(wrapper, 0o755);
    symlinkSync('apptainer', join(directory, 'bin', 'shifter'));
    return directory;
  }

  test('the worker’s prefix goes outside, the task’s inside, and argv stays what it is', async () => {
    const directory = wrappers();
    const PATH = `${directory}/bin:${process.env['PATH']}`;
    const env = { ...process.env, PATH };
    const commandSite = { prefix: ['shifter', '--image=sim:1', '--'] };
    await using harness = new Harness({ env, commandSite });
    const wrapped = harness.command({
      file: 'printf',
      args: ['%s|', { arg: 1 }],
      prefix: ['apptainer', 'exec', { arg: 0 }],
    });
    // SAFE: this is what commands result in.
    const { stdout } = (await harness.call(wrapped, 'my image', 'a  b $HOME')) as CommandResult;
    expect(stdout).toBe(
      'shifter --image=sim:1 -- <task-1>\napptainer exec my image <task-1>\na  b $HOME|',
    );
  });

  test('a prefix that is not there is named', async () => {
    await using harness = new Harness({ commandSite: { prefix: ['no-such-container', 'exec'] } });
    const failure = await harness.failure(harness.command({ file: 'true' }));
    expect(failure.code).toBe('ERR_SPAWN');
    expect(failure.message).toContain('"no-such-container" was not found in PATH');
  });

  test('a setup script changes, adds and removes variables of every command', async () => {
    const script = join(aDirectory(), 'setup.sh');
    writeFileSync(script, 'echo loading\nexport A="new\nline" B=2\nunset GONE\nC=not-exported\n');
    const env = { PATH: process.env['PATH'] ?? '', A: 'old', GONE: '1', 'odd.name': 'kept' };
    const variables = await siteVariables(script, env);
    expect(variables).toEqual({ A: 'new\nline', B: '2', GONE: undefined });
    await using harness = new Harness({ env, commandSite: { variables } });
    const print = harness.command({
      file: process.execPath,
      args: ['-p', 'JSON.stringify(process.env)'],
    });
    // SAFE: this is what commands result in.
    const { stdout } = (await harness.call(print)) as CommandResult;
    const seen: unknown = JSON.parse(stdout);
    expect(seen).toMatchObject({ A: 'new\nline', B: '2', 'odd.name': 'kept' });
    expect(seen).not.toHaveProperty('GONE');
  });

  test('a setup script that fails is an error with what it said', async () => {
    const script = join(aDirectory(), 'setup.sh');
    writeFileSync(script, 'echo "no module sim" >&2; false\n');
    const failing = siteVariables(script, process.env);
    await expect(failing).rejects.toThrow(`--site-setup ${script} failed: no module sim`);
    await expect(siteVariables('/none.sh', process.env)).rejects.toThrow('/none.sh');
  });
});

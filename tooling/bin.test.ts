import { spawn } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

const ROOT = join(import.meta.dirname, '..');

let folder = '';
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'farm-bin-'));
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** Runs a command of the repository and tells how its process was when it ended. */
async function runCommand(name: string): Promise<{
  readonly printed: string;
  readonly pid: number | undefined;
  readonly ended: unknown;
}> {
  const record = join(folder, `${name}.json`);
  const probe = join(folder, 'probe.cjs');
  await writeFile(
    probe,
    `process.on('exit', () => {
      const { pid, execArgv } = process;
      require('node:fs').writeFileSync(process.env.PROBE, JSON.stringify({ pid, execArgv }));
    });`,
  );
  const env = { ...process.env, NODE_OPTIONS: `--require=${probe}`, PROBE: record };
  const bin = join(ROOT, 'node_modules', '.bin', name);
  const child = spawn(process.execPath, [bin, '--version'], { env });
  const printed = await text(child.stdout);
  const ended: unknown = JSON.parse(await readFile(record, 'utf8'));
  return { printed, pid: child.pid, ended };
}

function readJson(path: string): unknown {
  return JSON.parse(readFileSync(join(ROOT, path), 'utf8'));
}

/** The commands that a manifest, or the entry of a package in the lock file, brings. */
function binOf(entry: unknown): unknown {
  return typeof entry === 'object' && entry !== null && 'bin' in entry ? entry.bin : undefined;
}

describe('the commands of the repository', () => {
  test('the lock file has every command of every package, or npm links none and npx looks elsewhere', () => {
    const lock = readJson('package-lock.json') as { packages: Record<string, unknown> }; // SAFE: npm's format
    const folders = readdirSync(join(ROOT, 'packages')).map((name) => `packages/${name}`);
    expect(folders.length).toBeGreaterThan(3);
    const locked = folders.map((folder) => [folder, binOf(lock.packages[folder])]);
    expect(locked).toEqual(
      folders.map((folder) => [folder, binOf(readJson(`${folder}/package.json`))]),
    );
  });

  test('farm-scheduler runs in the process that was started, unable to make code from text', async () => {
    const { printed, pid, ended } = await runCommand('farm-scheduler');
    expect(printed).toMatch(/\d+\.\d+\.\d+/);
    expect(ended).toEqual({
      pid,
      execArgv: [
        '--disable-proto=throw',
        '--disallow-code-generation-from-strings',
        '--conditions=@farm/source',
        '--no-allocation-site-pretenuring',
        '--min-semi-space-size=16',
        '--external-memory-accounted-in-global-limit',
      ],
    });
  });

  test('farm-worker runs in the process that was started', async () => {
    const { printed, pid, ended } = await runCommand('farm-worker');
    expect(printed).toMatch(/\d+\.\d+\.\d+/);
    expect(ended).toEqual({ pid, execArgv: ['--conditions=@farm/source'] });
  });
});

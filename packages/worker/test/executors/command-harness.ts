/** What tests of commands share. */
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { CommandResult } from '@farm/protocol';
import { onTestFinished } from 'vitest';

import type { Harness } from './executor-harness.ts';

/** A directory that is gone after the test. */
export function aDirectory(): string {
  const directory = realpathSync(mkdtempSync(join(tmpdir(), 'farm-test-')));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Runs a command and returns what it results in. */
export async function result(
  harness: Harness,
  fn: number,
  ...args: unknown[]
): Promise<CommandResult> {
  // SAFE: this is what commands result in.
  return (await harness.call(fn, ...args)) as CommandResult;
}

/** Whether a process runs: neither gone nor dead and waiting for its parent. */
export function isRunning(pid: number): boolean {
  try {
    const state = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1] ?? '';
    return !state.startsWith('Z') && !state.startsWith('X');
  } catch {
    return false;
  }
}

/** Pids a script of the test wrote, one a line. */
export function pids(path: string): number[] {
  return existsSync(path) ? readFileSync(path, 'utf8').trim().split('\n').map(Number) : [];
}

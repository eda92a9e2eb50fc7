import type { CommandResult } from '@farm/protocol';

import type { CommandLine } from './command-line.ts';

const LAST_LINES = 3;
const LAST_LENGTH_MAX = 300;

/**
 * A command that ended with an exit code that is not accepted, or by a signal. Its own fields reach
 * the client, so that a program can look at them.
 */
export class CommandError extends Error {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd: string;

  constructor(line: CommandLine, result: CommandResult) {
    const how =
      result.signal === null
        ? `exited with code ${result.exitCode}`
        : `was ended by signal ${result.signal}`;
    const last = lastLines(result.stderr);
    super(`command ${line.name} ${how}${last === '' ? '' : `: ${last}`}`);
    this.name = 'CommandError';
    // Where it was made is of no interest to anybody.
    this.stack = `${this.name}: ${this.message}`;
    this.exitCode = result.exitCode;
    this.signal = result.signal;
    this.stdout = result.stdout;
    this.stderr = result.stderr;
    this.durationMs = result.durationMs;
    this.file = line.file;
    this.args = line.args;
    this.cwd = line.cwd;
  }
}

function lastLines(text: string): string {
  const lines = text
    .slice(-4 * LAST_LENGTH_MAX)
    .trimEnd()
    .split('\n');
  return lines.slice(-LAST_LINES).join('\n').slice(-LAST_LENGTH_MAX);
}

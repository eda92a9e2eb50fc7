import { FarmError } from '@farm/protocol/core';
import { access, stat } from 'node:fs/promises';
import { resolve } from 'node:path';

import type { CommandLine } from './command-line.ts';

/** Says why a command could not be started: its program, its directory, or its arguments. */
export async function spawnError(line: CommandLine, error: unknown): Promise<FarmError> {
  return new FarmError(
    'ERR_SPAWN',
    `command ${line.name} could not be started: ${await reason(line, error)} (cwd ${line.cwd})`,
    { cause: error },
  );
}

/** Says that the file for an output stream could not be opened. */
export function outputError(
  line: CommandLine,
  stream: string,
  path: string,
  error: unknown,
): FarmError {
  const why = error instanceof Error ? error.message : String(error);
  return new FarmError(
    'ERR_SPAWN',
    `command ${line.name}: the file for its ${stream}, ${path}, could not be opened: ${why}`,
    { cause: error },
  );
}

async function reason({ file, args, cwd }: CommandLine, error: unknown): Promise<string> {
  const program = JSON.stringify(file);
  if (file === '') return 'the name of its program is empty';
  const texts = [file, ...args];
  const withNul = texts.findIndex((text) => text.includes('\0'));
  if (withNul === 0) return `its program ${program} has a NUL character in its name`;
  if (withNul > 0) return `${program}: position ${withNul - 1} of its argv has a NUL character`;
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  // The system reports a missing program and a missing directory alike.
  const directory = await directoryProblem(cwd);
  if (directory !== undefined) return `its directory ${JSON.stringify(cwd)} ${directory}`;
  switch (code) {
    case 'ENOENT':
      if (!file.includes('/')) return `its program ${program} was not found in PATH`;
      return (await exists(resolve(cwd, file)))
        ? `the interpreter that the first line of ${program} names was not found`
        : `its program ${program} does not exist`;
    case 'EACCES':
      return `its program ${program} is not executable (EACCES)`;
    case 'E2BIG': {
      const bytes = texts.reduce((sum, text) => sum + Buffer.byteLength(text) + 1, 0);
      return `its argv of ${bytes} bytes and its environment are too long for the system (E2BIG)`;
    }
    default:
      return `${program}: ${error instanceof Error ? error.message : String(error)}`;
  }
}

async function directoryProblem(cwd: string): Promise<string | undefined> {
  try {
    if (!(await stat(cwd)).isDirectory()) return 'is not a directory';
    await access(cwd, 1);
    return undefined;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT') return 'does not exist';
    return code === 'EACCES' ? 'may not be entered' : undefined;
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}

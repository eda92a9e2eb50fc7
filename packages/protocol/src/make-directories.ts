import { existsSync, mkdirSync, statSync } from 'node:fs';
import { mkdir, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';

/**
 * Makes a directory and those above it, where they are missing. What Node's `recursive` does, except
 * that it never ends below a directory that takes none, such as `/proc`: there this throws.
 *
 * @param mode - Of those that are made. Default: what the mask of the process leaves of 0o777.
 * @throws Node's error for what cannot be made.
 */
export function makeDirectories(path: string, mode?: number): void {
  for (const missing of missingDirectories(path)) {
    try {
      mkdirSync(missing, { mode });
    } catch (error) {
      // Another process may have made it just now.
      if (!isThere(error) || !statSync(missing).isDirectory()) throw error;
    }
  }
}

/** {@link makeDirectories} without keeping the caller waiting. */
export async function makeDirectoriesAsync(path: string, mode?: number): Promise<void> {
  for (const missing of missingDirectories(path)) {
    try {
      await mkdir(missing, { mode });
    } catch (error) {
      if (!isThere(error) || !(await stat(missing)).isDirectory()) throw error;
    }
  }
}

/** The directory, unless it is there, behind those above it that are not; the outermost first. */
function missingDirectories(path: string): readonly string[] {
  const missing = [resolve(path)];
  for (;;) {
    const parent = dirname(missing[0] ?? '/');
    if (parent === missing[0] || existsSync(parent)) return missing;
    missing.unshift(parent);
  }
}

function isThere(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EEXIST';
}

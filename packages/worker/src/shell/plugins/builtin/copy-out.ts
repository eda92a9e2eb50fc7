import { type Dirent } from 'node:fs';
import { copyFile, lstat, mkdir, open, readdir, readlink, rename, symlink } from 'node:fs/promises';
import { utimes } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

import type { WorkerPlugin } from '../worker-plugin.ts';
import { workerPath } from './worker-path.ts';

/** Where {@link copyOut} copies from and to. */
export interface CopyOutOptions {
  /** @default the worker's own directory */
  readonly from?: string;
  readonly to: string;
}

/**
 * Copies what is in a directory of the worker to another place when the worker ends. Each file
 * appears there whole or not at all.
 */
export function copyOut({ from = '{directory}', to }: CopyOutOptions): WorkerPlugin {
  return {
    setup: async (worker) => {
      // What cannot be written at the end is better known at the beginning.
      await mkdir(workerPath(to, worker), { recursive: true });
    },
    teardown: async (worker) => {
      const count = await copyInside(workerPath(from, worker), workerPath(to, worker));
      worker.log(`copied ${count} files to ${workerPath(to, worker)}`);
    },
  };
}

/** Copies what is in a directory; returns how many files and links that was. */
async function copyInside(from: string, to: string): Promise<number> {
  await mkdir(to, { recursive: true });
  let count = 0;
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const source = join(from, entry.name);
    const target = join(to, entry.name);
    if (source === to) continue;
    if (entry.isDirectory()) count += await copyInside(source, target);
    else if (await copyOne(entry, source, target)) count += 1;
  }
  return count;
}

async function copyOne(entry: Dirent, source: string, target: string): Promise<boolean> {
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.tmp`);
  if (entry.isSymbolicLink()) await symlink(await readlink(source), temporary);
  else if (entry.isFile()) await copyWhole(source, temporary);
  else return false;
  await rename(temporary, target);
  return true;
}

async function copyWhole(source: string, target: string): Promise<void> {
  await copyFile(source, target);
  const { atime, mtime } = await lstat(source);
  await utimes(target, atime, mtime);
  const file = await open(target, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

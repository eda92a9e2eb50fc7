import { lstat, mkdir, readlink, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, isAbsolute, join, normalize } from 'node:path';

import { FarmError } from '@farm/protocol/core';

import type { WorkerPlugin } from '../worker-plugin.ts';

/** Where uploads lie, by their hashes, in the worker's own directory. */
const UPLOADS = '.uploads';

/** A file or directory as it travels. */
export interface UploadedTree {
  /** What it is called in the worker's directory. */
  readonly name: string;
  /** Hash of all that follows. */
  readonly hash: string;
  /** A directory comes before what is in it. Paths are relative; the first is empty. */
  readonly entries: readonly UploadedEntry[];
}

/** One file, link or directory. */
export type UploadedEntry =
  | {
      readonly kind: 'file';
      readonly path: string;
      readonly mode: number;
      readonly bytes: Uint8Array;
    }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'directory'; readonly path: string };

/** Puts a file or directory into the worker's own directory. It appears there whole. */
export function upload({ name, hash, entries }: UploadedTree): WorkerPlugin {
  const target = join(UPLOADS, safe(hash), safe(name));
  return {
    setup: async ({ localDirectory }) => {
      for (const entry of entries) await put(entry, join(localDirectory, target));
      const link = join(localDirectory, safe(name));
      const temporary = `${link}.${hash.slice(0, 8)}.tmp`;
      await rm(temporary, { force: true });
      await symlink(target, temporary);
      if ((await lstat(link).catch(() => null))?.isDirectory() === true) {
        throw new FarmError('ERR_PLUGIN', `${link} is there already and no upload`);
      }
      await rename(temporary, link);
    },
    teardown: async ({ localDirectory }) => {
      const link = join(localDirectory, name);
      if ((await readlink(link).catch(() => null)) === target) await rm(link);
      await rm(join(localDirectory, UPLOADS, hash), { recursive: true, force: true });
    },
  };
}

async function put(entry: UploadedEntry, root: string): Promise<void> {
  const path = entry.path === '' ? root : join(root, safe(entry.path));
  if (entry.kind === 'directory') {
    await mkdir(path, { recursive: true });
    return;
  }
  await mkdir(dirname(path), { recursive: true });
  await rm(path, { force: true });
  if (entry.kind === 'link') await symlink(entry.target, path);
  else await writeFile(path, entry.bytes, { mode: entry.mode & 0o777 });
}

/** A path that stays where it is put. */
function safe(path: string): string {
  const normal = normalize(path);
  if (path === '' || isAbsolute(normal) || normal.split('/').includes('..') || normal === '.') {
    throw new FarmError('ERR_PLUGIN', `an upload cannot be called ${JSON.stringify(path)}`);
  }
  return normal;
}

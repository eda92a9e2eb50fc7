import { randomBytes } from 'node:crypto';
import { accessSync, constants, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { hostname, tmpdir, userInfo } from 'node:os';
import { join, resolve } from 'node:path';

import { FarmError, makeDirectories } from '@farm/protocol';
import { UsageError } from '@farm/protocol/command-line';

import { hasEnded, identityOf } from './process-identity.ts';

const PREFIX = 'farm-worker-';

/** Directory of one worker process, for what it writes. */
export interface LocalDirectory {
  readonly path: string;
  /** Removes it with all that is in it. Idempotent. */
  remove(): void;
}

/** Where workers make their directories unless told: one place for each user of this host. */
export function defaultLocalDirectory(): string {
  return join(tmpdir(), `farm-workers-${userInfo().uid}`);
}

/**
 * Makes a directory of its own for a worker inside `parent`, named after host, worker and process,
 * and removes those that dead workers of this host left there. Those of other hosts and containers
 * that share the file system are left alone: nobody here knows whether they live.
 *
 * @throws FarmError `ERR_ARGUMENT` where it cannot be made; the message names `parent`.
 */
export function makeLocalDirectory(parent: string, workerName: string): LocalDirectory {
  const absolute = resolve(parent);
  const host = fileName(hostname());
  const name = `${PREFIX}${fileName(workerName)}-${host}-${identityOf(process.pid)}-`;
  const path = join(absolute, name + randomBytes(4).toString('hex'));
  try {
    // Not by Node: below some directories, such as /proc, its own way never ends.
    makeDirectories(absolute, 0o700);
    purge(absolute, host);
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new FarmError('ERR_ARGUMENT', `--local-directory ${absolute} cannot be used: ${reason}`, {
      cause: error,
    });
  }
  return {
    path,
    remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 2 }),
  };
}

/**
 * Makes the directory inside which workers make theirs.
 *
 * @throws UsageError where it cannot be made, or nothing in it.
 */
export function prepareLocalDirectory(parent: string): void {
  const path = resolve(parent);
  try {
    makeDirectories(path, 0o700);
    accessSync(path, constants.W_OK | constants.X_OK);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`--local-directory ${path} cannot be used: ${reason}`, { cause: error });
  }
}

/**
 * Removes the directories that dead workers of this host left inside `parent`, as far as they can
 * be removed.
 */
export function purgeLocalDirectories(parent: string): void {
  try {
    purge(resolve(parent), fileName(hostname()));
  } catch {
    // There is none.
  }
}

function purge(parent: string, host: string): void {
  for (const name of readdirSync(parent)) {
    const [, before, identity] =
      /^farm-worker-(.*)-(\d+\.\d+\.\d+\.[\da-f]*)-[\da-f]{8}$/.exec(name) ?? [];
    if (before === undefined || identity === undefined) continue;
    if (!before.endsWith(`-${host}`) || !hasEnded(identity)) continue;
    try {
      rmSync(join(parent, name), { recursive: true, force: true });
    } catch {
      // Another user's, or another worker is removing it at this moment.
    }
  }
}

function fileName(text: string): string {
  return text.replace(/[^\w.]+/g, '_').slice(0, 80);
}

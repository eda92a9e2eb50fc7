import { makeDirectoriesAsync } from '@farm/protocol';
import { FarmError } from '@farm/protocol/core';
import { randomBytes } from 'node:crypto';
import {
  chmod,
  glob,
  lstat,
  mkdir,
  open,
  realpath,
  rename,
  rm,
  stat,
  symlink,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join, sep } from 'node:path';

import { copyTree } from './copy-tree.ts';
import type { PlannedIn, PlannedOut, StagedAttempt, StagePlan } from './stage-plan.ts';

/** Where directories are made unless a command says so. */
export interface StagingPlaces {
  /** Removed when the worker ends. */
  readonly running: string;
  /** Where directories that are kept are moved to. */
  readonly kept: string;
}

/**
 * The places below a worker's local directory. What is kept lies beside that directory, which is
 * removed with the worker.
 */
export function stagingPlaces(localDirectory: string | undefined): StagingPlaces {
  const local = localDirectory ?? join(tmpdir(), `farm-tasks-${process.pid}`);
  return { running: join(local, 'tasks'), kept: join(dirname(local), 'kept-tasks') };
}

/** The directory that one attempt of a command has for itself. */
export class StagedDirectory {
  readonly #plan: StagePlan;
  readonly #places: StagingPlaces;
  readonly #signal: AbortSignal;
  #path: string;

  private constructor(plan: StagePlan, path: string, places: StagingPlaces, signal: AbortSignal) {
    this.#plan = plan;
    this.#path = path;
    this.#places = places;
    this.#signal = signal;
  }

  /** Absolute. */
  get path(): string {
    return this.#path;
  }

  /**
   * Makes the directory and brings what the command needs. What cannot be brought leaves no
   * directory.
   *
   * @param signal - stops it; it rejects with the signal's reason
   * @throws FarmError `ERR_STAGE` naming the command and the path
   */
  static async make(
    plan: StagePlan,
    { key, attempt }: StagedAttempt,
    places: StagingPlaces,
    signal: AbortSignal,
  ): Promise<StagedDirectory> {
    const parent = plan.directory ?? places.running;
    const name = key.replaceAll(/[^\w.-]+/g, '_').slice(0, 100);
    const path = join(parent, `${name}-${attempt}-${randomBytes(4).toString('hex')}`);
    try {
      await makeDirectoriesAsync(parent, 0o700);
      await mkdir(path, { mode: 0o700 });
    } catch (error) {
      throw stageError(plan, `its directory ${path} could not be made`, error);
    }
    const directory = new StagedDirectory(plan, path, places, signal);
    try {
      for (const item of plan.in) await directory.#bring(item);
    } catch (error) {
      await rm(path, { recursive: true, force: true });
      throw error;
    }
    return directory;
  }

  /**
   * Takes out what the command made. Each file or tree is whole under its name or not there: it is
   * copied under a name of its own first, and replaces what was there before.
   *
   * @returns the absolute paths, in order
   * @throws FarmError `ERR_STAGE` where nothing matches, or a match cannot be taken
   */
  async take(): Promise<string[]> {
    const taken: string[] = [];
    for (const item of this.#plan.out) {
      const matches = await this.#matches(item);
      if (matches.length === 0 && !item.optional) {
        throw stageError(this.#plan, `nothing in ${this.#path} matches ${item.pattern}`);
      }
      const targets = matches.map((match) => destination(item, match));
      const twice = targets.find((target, index) => targets.indexOf(target) !== index);
      if (twice !== undefined) {
        throw stageError(this.#plan, `several matches of ${item.pattern} would become ${twice}`);
      }
      for (const [index, match] of matches.entries()) {
        await this.#takeOne(match, targets[index] ?? '');
      }
      taken.push(...targets);
    }
    return taken;
  }

  /**
   * Removes the directory, or keeps it, as the plan says.
   *
   * @returns where it is kept; undefined where it is gone
   */
  async end(isSuccess: boolean): Promise<string | undefined> {
    const { remove, directory } = this.#plan;
    if (remove === 'always' || (remove === 'on-success' && isSuccess)) {
      await rm(this.#path, { recursive: true, force: true, maxRetries: 2 });
      return undefined;
    }
    if (directory !== null) return this.#path;
    const { kept } = this.#places;
    const path = join(kept, basename(this.#path));
    await mkdir(kept, { recursive: true, mode: 0o700 });
    await rename(this.#path, path);
    this.#path = path;
    return path;
  }

  async #bring({ from, to, link }: PlannedIn): Promise<void> {
    const target = join(this.#path, to);
    try {
      // The name may be a link; what it stands for is brought.
      const source = await realpath(from);
      await mkdir(dirname(target), { recursive: true });
      if (link) await symlink(source, target);
      else await copyTree(source, target, { signal: this.#signal, isSynced: false });
    } catch (error) {
      this.#signal.throwIfAborted();
      const isMissing = await lstat(from).then(
        () => false,
        () => true,
      );
      const what = isMissing
        ? `its input ${from} does not exist`
        : `its input ${from} could not be brought`;
      throw stageError(this.#plan, what, error);
    }
  }

  async #matches({ pattern }: PlannedOut): Promise<string[]> {
    const matches: string[] = [];
    for await (const match of glob(pattern, { cwd: this.#path }))
      matches.push(join(this.#path, match));
    return matches.toSorted();
  }

  async #takeOne(match: string, to: string): Promise<void> {
    const temporary = `${to}.farm-${randomBytes(6).toString('hex')}`;
    try {
      const [root, source] = await Promise.all([realpath(this.#path), realpath(match)]);
      if (source !== root && !source.startsWith(root + sep)) {
        throw new Error(`it leads out of the command's directory, to ${source}`);
      }
      await makeDirectoriesAsync(dirname(to));
      await copyTree(source, temporary, { signal: this.#signal, isSynced: true });
      await replace(temporary, to);
      await syncDirectory(dirname(to));
    } catch (error) {
      await rm(temporary, { recursive: true, force: true }).catch(() => {});
      this.#signal.throwIfAborted();
      throw stageError(this.#plan, `its output ${match} could not become ${to}`, error);
    }
  }
}

/** Where a match goes. */
function destination({ to }: PlannedOut, match: string): string {
  const name = basename(match);
  const ext = extname(name);
  const filled = to
    .replaceAll('{name}', () => name)
    .replaceAll('{stem}', () => name.slice(0, name.length - ext.length))
    .replaceAll('{ext}', () => ext);
  return filled.endsWith('/') ? join(filled, name) : filled;
}

/** Gives a finished copy its name. A tree cannot replace a tree at once: the old one moves aside. */
async function replace(temporary: string, to: string): Promise<void> {
  const old = await lstat(to).catch(() => undefined);
  const isTree = (await stat(temporary)).isDirectory();
  if (old === undefined || (!old.isDirectory() && !isTree)) {
    await rename(temporary, to);
    return;
  }
  const aside = `${temporary}-old`;
  await rename(to, aside);
  await rename(temporary, to);
  await chmod(aside, 0o700).catch(() => {});
  await rm(aside, { recursive: true, force: true });
}

async function syncDirectory(path: string): Promise<void> {
  try {
    await using directory = await open(path, 'r');
    await directory.sync();
  } catch {
    // Not every file system can do it; then the file itself is as safe as it gets.
  }
}

function stageError(plan: StagePlan, what: string, error?: unknown): FarmError {
  const why = error instanceof Error ? `: ${error.message}` : '';
  return new FarmError('ERR_STAGE', `command ${plan.command}: ${what}${why}`, { cause: error });
}

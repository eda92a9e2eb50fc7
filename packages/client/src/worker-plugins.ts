/** Plugins of workers and nannies: what clients register. */
import { createHash } from 'node:crypto';
import { lstat, readdir, readFile, readlink, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';

import {
  FarmError,
  LIMITS,
  type PluginKind,
  type PluginSpec,
  type WorkerPluginParams,
} from '@farm/protocol';
import { encodeValue } from '@farm/protocol/value';

import { fromModule, type ModuleReference } from './functions/module-function.ts';
import { sourceFunction } from './functions/source-function.ts';
import type { AnyFunction } from './types.ts';

/** How a plugin of workers or nannies is registered. */
export interface WorkerPluginOptions {
  /**
   * A worker has one plugin of a name; another of that name takes its place.
   * @default the name of the function or export, or of the module
   */
  readonly name?: string;
  /** Whether it is for the workers or for the nannies above them. @default 'worker' */
  readonly kind?: PluginKind;
  /** For the function or the constructor; anything that a task's arguments may be. @default none */
  readonly args?: readonly unknown[];
  /** Of a module: what it is exported as. @default 'default' */
  readonly exportName?: string;
  /** Milliseconds its setup may take on a worker. @default 300_000 */
  readonly setupTimeoutMs?: number;
}

/** A plugin that is ready to be registered: made by {@link environmentPlugin} and its like. */
export class PluginDefinition {
  readonly name: string;
  readonly kind: PluginKind;
  /** What the workers are told. */
  readonly spec: PluginSpec;

  constructor(name: string, kind: PluginKind, spec: PluginSpec) {
    this.name = name;
    this.kind = kind;
    this.spec = spec;
  }
}

/**
 * A plugin for workers: a function that makes one, which travels by its source as tasks do, or a
 * module that exports a plugin, a class of plugins or such a function.
 *
 * @throws FarmError `ERR_FUNCTION` for a function that cannot travel or a module nobody else finds;
 *   `ERR_ARGUMENT` for options that make no sense.
 *
 * @example
 * const plugin = workerPlugin(() => ({
 *   setup: (worker) => worker.log(`${worker.name} has ${worker.nthreads} threads`),
 * }), { name: 'hello' });
 * await client.registerPlugin(plugin);
 */
export function workerPlugin(
  code: AnyFunction | ModuleReference,
  options: WorkerPluginOptions = {},
): PluginDefinition {
  const { kind = 'worker', args = [], exportName = 'default' } = options;
  const { setupTimeoutMs = LIMITS.pluginSetupMs } = options;
  if (!(setupTimeoutMs > 0 && setupTimeoutMs <= TIMER_MS_MAX)) {
    throw new FarmError('ERR_ARGUMENT', `setupTimeoutMs is ${setupTimeoutMs}: give milliseconds`);
  }
  if (typeof code === 'function' && code.name === '' && options.name === undefined) {
    throw new FarmError('ERR_ARGUMENT', 'a plugin needs a name: workerPlugin(() => …, { name })');
  }
  const spec =
    typeof code === 'function' ? sourceFunction(code) : fromModule(code, exportName).spec;
  const name = options.name ?? spec.name;
  return new PluginDefinition(name, kind, { code: spec, args, setupTimeoutMs });
}

/** The longest time a timer of Node can count. */
const TIMER_MS_MAX = 2_147_483_647;

/**
 * Sets variables in the environment of all tasks, functions and commands; null removes one. With
 * `kind: 'nanny'` also in that of worker processes that start later.
 */
export function environmentPlugin(
  variables: Readonly<Record<string, string | null>>,
  { name = 'environment', kind = 'worker' }: Pick<WorkerPluginOptions, 'name' | 'kind'> = {},
): PluginDefinition {
  return builtin('environment', name, [variables], kind);
}

/** What {@link npmInstallPlugin} installs, and how. */
export interface NpmInstallPluginOptions extends Pick<
  WorkerPluginOptions,
  'name' | 'setupTimeoutMs'
> {
  /** Further arguments for npm, for example `--registry=…`. @default none */
  readonly args?: readonly string[];
  /** The program. @default the npm beside the node that runs the worker, else that of the PATH */
  readonly npm?: string;
}

/**
 * Installs packages into each worker's own directory, where functions import them from that find
 * them nowhere else. A package is a name, a name with a version, a folder or an archive, as
 * `npm install` takes them on the worker.
 */
export function npmInstallPlugin(
  packages: readonly string[],
  { name = 'npm-install', args = [], npm, setupTimeoutMs }: NpmInstallPluginOptions = {},
): PluginDefinition {
  const options = { packages, args, ...(npm === undefined ? {} : { npm }) };
  return builtin('npm-install', name, [options], 'worker', setupTimeoutMs);
}

/**
 * What {@link archivePlugin} archives, and where to. `{worker}` in a path stands for the worker's
 * name, `{directory}` for its own directory.
 */
export interface ArchivePluginOptions {
  readonly name?: string;
  /** @default the worker's own directory */
  readonly from?: string;
  /** The file, `.tar.gz`; one for each worker: `/results/{worker}.tar.gz`. */
  readonly to: string;
  /** From the end of one archive to the beginning of the next. @default 60_000 */
  readonly everyMs?: number;
  /** Of gzip, 0 to 9. @default 6 */
  readonly level?: number;
}

/**
 * Archives a directory of each worker again and again, and once more when the worker ends. The file
 * is always a whole archive, also after the worker or its machine died.
 */
export function archivePlugin({
  name = 'archive',
  ...options
}: ArchivePluginOptions): PluginDefinition {
  checkTemplate(options.to);
  return builtin('archive', name, [options], 'worker');
}

/** What {@link copyOutPlugin} copies; the paths are as in {@link ArchivePluginOptions}. */
export interface CopyOutPluginOptions {
  readonly name?: string;
  /** @default the worker's own directory */
  readonly from?: string;
  /** The directory it is copied into. */
  readonly to: string;
}

/** Copies what is in a directory of each worker to another place when the worker ends. */
export function copyOutPlugin({
  name = 'copy-out',
  ...options
}: CopyOutPluginOptions): PluginDefinition {
  return builtin('copy-out', name, [options], 'worker');
}

/** What became of an upload. */
export interface Uploaded {
  /** What it is called in each worker's own directory, and the name of its plugin. */
  readonly name: string;
  /** SHA-256 of its contents, hexadecimal. */
  readonly hash: string;
  /** Whether the workers did not have it before. */
  readonly isNew: boolean;
}

/**
 * Reads a file or a directory for an upload.
 *
 * @throws FarmError `ERR_ARGUMENT` where it cannot be read, `ERR_LIMIT` where it is too large.
 */
export async function uploadPlugin(
  path: string,
  name: string = basename(resolve(path)),
): Promise<{ readonly plugin: PluginDefinition; readonly hash: string }> {
  if (name === '' || name === '.' || name === '..' || /[/\0]/.test(name)) {
    throw new FarmError('ERR_ARGUMENT', `upload: ${JSON.stringify(name)} is no name for a file`);
  }
  const entries: unknown[] = [];
  try {
    await readTree(path, '', entries, { bytes: 0 });
  } catch (error) {
    if (error instanceof FarmError) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new FarmError('ERR_ARGUMENT', `upload: ${path} cannot be read: ${why}`, { cause: error });
  }
  const hash = createHash('sha256').update(encodeValue(entries).bytes).digest('hex');
  return { plugin: builtin('upload', name, [{ name, hash, entries }], 'worker'), hash };
}

/** What the scheduler is told of a plugin. */
export function workerPluginParams({ name, kind, spec }: PluginDefinition): WorkerPluginParams {
  if (name === '' || name.length > LIMITS.keyLengthMax) {
    throw new FarmError('ERR_ARGUMENT', `a plugin needs a name of up to ${LIMITS.keyLengthMax}`);
  }
  const { bytes } = encodeValue(spec, { what: `plugin ${name}`, futures: false });
  return { name, kind, spec: bytes };
}

function builtin(
  code: 'archive' | 'copy-out' | 'environment' | 'npm-install' | 'upload',
  name: string,
  args: readonly unknown[],
  kind: PluginKind,
  setupTimeoutMs: number = LIMITS.pluginSetupMs,
): PluginDefinition {
  return new PluginDefinition(name, kind, {
    code: { kind: 'builtin', name: code },
    args,
    setupTimeoutMs,
  });
}

function checkTemplate(to: string): void {
  if (to.includes('{worker}') || to.includes('{directory}')) return;
  const why = `archivePlugin: each worker needs a file of its own, write {worker} into ${to}`;
  throw new FarmError('ERR_ARGUMENT', why);
}

async function readTree(
  path: string,
  relative: string,
  entries: unknown[],
  total: { bytes: number },
): Promise<void> {
  // What is asked for itself may be a link: its target is meant.
  const stats = relative === '' ? await stat(path) : await lstat(path);
  if (stats.isSymbolicLink()) {
    entries.push({ kind: 'link', path: relative, target: await readlink(path) });
  } else if (stats.isDirectory()) {
    entries.push({ kind: 'directory', path: relative });
    for (const name of (await readdir(path)).toSorted()) {
      await readTree(
        join(path, name),
        relative === '' ? name : join(relative, name),
        entries,
        total,
      );
    }
  } else if (!stats.isFile()) {
    throw new FarmError('ERR_ARGUMENT', `upload: ${path} is neither a file nor a directory`);
  } else {
    const bytes = await readFile(path);
    total.bytes += bytes.byteLength;
    if (total.bytes > LIMITS.pluginBytesMax) {
      const why = `upload: more than ${LIMITS.pluginBytesMax} bytes; put it where workers read it`;
      throw new FarmError('ERR_LIMIT', why);
    }
    entries.push({ kind: 'file', path: relative, mode: stats.mode & 0o777, bytes });
  }
}

import { unlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, resolve } from 'node:path';

import { parseAddress } from '../address.ts';
import type { Address } from '../address.ts';
import { FarmError } from '../core/index.ts';
import { NotASmallFile, readSmallFile, writePrivateFile } from './private-file.ts';

/** Version of the file's format. */
const FORMAT_VERSION = 1;

/** The port of an address in a scheduler file that names none. */
const DEFAULT_PORT = 8786;

/** Roles that have a token in the file. A peer uses what the scheduler tells it. */
export type TokenRole = 'client' | 'worker';

/** What a scheduler writes about itself. */
export interface SchedulerFileInfo {
  readonly id: string;
  /** Where clients and workers connect, `tcp://host:port`. */
  readonly address: string;
  /** Ports of its other services. */
  readonly services: { readonly dashboard?: number };
  /** Milliseconds since the epoch. */
  readonly startedMs: number;
  readonly protocol: number;
  readonly pid: number;
  /** Name of the machine `pid` is on. */
  readonly host: string;
  readonly tokens: { readonly [R in TokenRole]: string };
}

/** What a client or a worker reads of it. */
export interface SchedulerFile extends Omit<SchedulerFileInfo, 'tokens' | 'address'> {
  /** Absolute path of the file. */
  readonly path: string;
  readonly address: Address;
  /** The secret of the role it was read for. */
  readonly token: string;
}

/** Options of {@link readSchedulerFile}. */
export interface ReadSchedulerFileOptions {
  /** Whose token is wanted. */
  readonly role: TokenRole;
  /** Told that others can read the file, and with it the token. */
  readonly onWarning?: (message: string) => void;
}

/**
 * Writes a scheduler file, replacing one that is there: Dask's fields (`type`, `id`, `address`,
 * `services`, `started` in seconds, `workers`), and under `farm` what only farm knows. Readable by
 * its owner only, complete from the moment it exists.
 *
 * @throws FarmError `ERR_SCHEDULER_FILE` naming the absolute path.
 */
export async function writeSchedulerFile(path: string, info: SchedulerFileInfo): Promise<void> {
  const { id, address, services, startedMs, protocol, pid, host, tokens } = info;
  const content = {
    type: 'Scheduler',
    id,
    address,
    services,
    started: startedMs / 1000,
    workers: {},
    farm: { version: FORMAT_VERSION, protocol, pid, host, tokens },
  };
  const absolute = resolve(path);
  try {
    await writePrivateFile(absolute, `${JSON.stringify(content, undefined, 2)}\n`);
  } catch (error) {
    // Writing makes the file, so what is missing is its directory.
    const isMissing = errorCode(error) === 'ENOENT';
    const problem = isMissing ? `: there is no directory ${dirname(absolute)}` : '';
    throw schedulerFileError(absolute, `cannot be written${problem}`, error);
  }
}

/**
 * Reads a scheduler file.
 *
 * @throws FarmError `ERR_SCHEDULER_FILE` naming the absolute path and what is wrong with it: it is
 *   missing, not readable, no regular file, too large, not JSON, or a field is not what it should
 *   be. The message never holds the content.
 *
 * @example
 * const { address, token } = await readSchedulerFile('scheduler.json', { role: 'client' });
 */
export async function readSchedulerFile(
  path: string,
  options: ReadSchedulerFileOptions,
): Promise<SchedulerFile> {
  const found = await lookAtSchedulerFile(path, options);
  if (found instanceof FarmError) throw found;
  return found;
}

/**
 * Reads a scheduler file; where it is not there yet or not complete, returns what is missing.
 *
 * @throws FarmError `ERR_SCHEDULER_FILE` for what waiting does not mend.
 */
export async function lookAtSchedulerFile(
  path: string,
  { role, onWarning }: ReadSchedulerFileOptions,
): Promise<SchedulerFile | FarmError> {
  const absolute = resolve(path);
  let text: string;
  let mode: number;
  try {
    ({ text, mode } = await readSmallFile(absolute));
  } catch (error) {
    const isMissing = errorCode(error) === 'ENOENT';
    const problem = isMissing ? 'does not exist' : 'cannot be read';
    const failure = schedulerFileError(absolute, problem, error);
    if (isMissing) return failure;
    throw failure;
  }
  let content: unknown;
  try {
    content = JSON.parse(text);
  } catch {
    // The parser's message quotes the content, which holds secrets.
    const problem = text === '' ? 'is empty' : 'is not valid JSON';
    return new FarmError('ERR_SCHEDULER_FILE', `the scheduler file ${absolute} ${problem}`);
  }
  if ((mode & 0o077) !== 0) {
    const bits = mode.toString(8).padStart(4, '0');
    onWarning?.(
      `the scheduler file ${absolute} holds secrets and other users may read it (mode ${bits}); ` +
        `run: chmod 600 ${absolute}`,
    );
  }
  return parsed(absolute, content, role);
}

/**
 * Removes a scheduler file if it is of this scheduler; a missing one is fine.
 *
 * @param id - The id of the scheduler that wrote it.
 * @returns Whether it was removed.
 */
export async function removeSchedulerFile(path: string, id: string): Promise<boolean> {
  const absolute = resolve(path);
  try {
    const content: unknown = JSON.parse((await readSmallFile(absolute)).text);
    if (fieldOf(content, 'id') !== id) return false;
    await unlink(absolute);
    return true;
  } catch {
    // Gone, replaced by something else, or not ours to remove.
    return false;
  }
}

/**
 * Whether the process that wrote a file is known to be gone: its pid is on this machine and dead.
 * False also where that cannot be known.
 */
export function isStale(file: { readonly pid: number; readonly host: string }): boolean {
  if (file.host !== hostname()) return false;
  try {
    process.kill(file.pid, 0);
    return false;
  } catch (error) {
    // EPERM: it is alive and of another user.
    return errorCode(error) === 'ESRCH';
  }
}

/**
 * Describes a scheduler file for an error about its scheduler, which may be long gone:
 * `scheduler file /home/a/scheduler.json, written 3 h ago by a process that has ended`.
 *
 * @param nowMs - Milliseconds since the epoch.
 */
export function describeSchedulerFile(file: SchedulerFile, nowMs: number): string {
  const minutes = Math.max(0, Math.round((nowMs - file.startedMs) / 60_000));
  const age = minutes < 120 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
  const ended = isStale(file) ? ' by a process that has ended' : '';
  return `scheduler file ${file.path}, written ${age} ago${ended}`;
}

function parsed(path: string, content: unknown, role: TokenRole): SchedulerFile {
  const refuse = (problem: string): FarmError => {
    return new FarmError('ERR_SCHEDULER_FILE', `the scheduler file ${path} ${problem}`);
  };
  const textOf = (record: unknown, name: string, shown: string): string => {
    const value = fieldOf(record, name);
    if (typeof value === 'string' && value !== '' && value.length <= 1_024) return value;
    throw refuse(value === undefined ? `has no field ${shown}` : `: ${shown} is not text`);
  };
  const numberOf = (record: unknown, name: string, shown: string): number => {
    const value = fieldOf(record, name);
    if (typeof value === 'number' && Number.isFinite(value) && value >= 0) return value;
    throw refuse(value === undefined ? `has no field ${shown}` : `: ${shown} is not a number`);
  };

  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw refuse('is not a JSON object');
  }
  if (fieldOf(content, 'type') !== 'Scheduler') throw refuse('is not of type "Scheduler"');
  const farm = fieldOf(content, 'farm');
  if (farm === undefined) throw refuse('has no field "farm"; is it of a Dask scheduler?');
  const version = numberOf(farm, 'version', 'farm.version');
  if (version !== FORMAT_VERSION) {
    throw refuse(`has version ${version}, this farm reads version ${FORMAT_VERSION}`);
  }
  const pid = numberOf(farm, 'pid', 'farm.pid');
  if (!Number.isSafeInteger(pid) || pid === 0) throw refuse(': farm.pid is not a process id');
  const dashboard = fieldOf(fieldOf(content, 'services'), 'dashboard');
  return {
    path,
    id: textOf(content, 'id', 'id'),
    address: addressOf(textOf(content, 'address', 'address'), refuse),
    services: typeof dashboard === 'number' ? { dashboard } : {},
    startedMs: numberOf(content, 'started', 'started') * 1000,
    protocol: numberOf(farm, 'protocol', 'farm.protocol'),
    pid,
    host: textOf(farm, 'host', 'farm.host'),
    token: textOf(fieldOf(farm, 'tokens'), role, `farm.tokens.${role}`),
  };
}

function addressOf(text: string, refuse: (problem: string) => FarmError): Address {
  try {
    return parseAddress(text, { defaultPort: DEFAULT_PORT });
  } catch (error) {
    if (!(error instanceof FarmError)) throw error;
    throw refuse(`has an address that is none: ${error.message}`);
  }
}

/** An own field of a record; undefined where there is none. */
function fieldOf(record: unknown, name: string): unknown {
  if (typeof record !== 'object' || record === null || !Object.hasOwn(record, name)) {
    return undefined;
  }
  // SAFE: an object may be read by name; what is read is unknown.
  return (record as Record<string, unknown>)[name];
}

function schedulerFileError(path: string, problem: string, error: unknown): FarmError {
  const why = error instanceof NotASmallFile ? error.message : whyOf(errorCode(error));
  return new FarmError(
    'ERR_SCHEDULER_FILE',
    `the scheduler file ${path} ${problem}${why === undefined ? '' : `: ${why}`}`,
    { cause: error },
  );
}

function whyOf(code: string | undefined): string | undefined {
  switch (code) {
    case 'ENOENT':
      return undefined;
    case 'EACCES':
    case 'EPERM':
      return 'this user has no permission';
    case 'ELOOP':
      return 'it is a symbolic link that leads to itself';
    case 'ENOTDIR':
      return 'a part of its path is not a directory';
    case 'ENOSPC':
      return 'the disk is full';
    case 'EISDIR':
    case 'ENOTEMPTY':
    case 'EEXIST':
      return 'it is a directory';
    case 'EROFS':
      return 'the file system is read-only';
    default:
      return code;
  }
}

function errorCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

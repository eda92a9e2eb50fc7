import { lstat, readdir, unlink } from 'node:fs/promises';
import { homedir, hostname, tmpdir } from 'node:os';
import { join } from 'node:path';

import { formatAddress } from '../address.ts';
import type { Address } from '../address.ts';
import { FarmError } from '../core/index.ts';
import { makeDirectoriesAsync } from '../make-directories.ts';
import { isLoopback, localAddresses } from '../network-interface.ts';
import { readSmallFile, writePrivateFile } from './private-file.ts';
import { isStale } from './scheduler-file.ts';
import type { TokenRole } from './scheduler-file.ts';

const FORMAT_VERSION = 1;

/** Files looked at in a search; old ones of dead schedulers may pile up. */
const FILES_MAX = 1_000;

/** Environment, for where credentials are and for FARM_TOKEN. */
export type Env = Readonly<Record<string, string | undefined>>;

/** What a scheduler leaves for programs of the same user that know its address only. */
export interface Credential {
  readonly id: string;
  /** Where it listens, as it was bound; `''`, `0.0.0.0` and `::` are every interface. */
  readonly host: string;
  readonly port: number;
  readonly startedMs: number;
  readonly pid: number;
  readonly tokens: { readonly [R in TokenRole]: string };
}

/**
 * Writes a credential file for the other programs of this user: `credentials/<machine>_<port>.json`
 * below `FARM_HOME`, `~/.farm`, or where neither can be written `farm-<uid>` in the directory for
 * temporary files. Directory and file are for their owner only. Files there of schedulers of this
 * machine whose process is gone are removed.
 *
 * @returns The path, for {@link removeCredential}.
 * @throws FarmError `ERR_SCHEDULER_FILE` where no directory can be used.
 */
export async function writeCredential(
  credential: Credential,
  env: Env = process.env,
): Promise<string> {
  const { id, host, port, startedMs, pid, tokens } = credential;
  const machine = hostname();
  const content = {
    version: FORMAT_VERSION,
    id,
    machine,
    hosts: namesOf(host, machine),
    port,
    startedMs,
    pid,
    tokens,
  };
  const problems: string[] = [];
  for (const home of homes(env)) {
    const directory = join(home, 'credentials');
    try {
      await ensurePrivate(home);
      await ensurePrivate(directory);
      const path = join(directory, `${fileSafe(machine)}_${port}.json`);
      await writePrivateFile(path, `${JSON.stringify(content, undefined, 2)}\n`);
      await removeStale(directory, path);
      return path;
    } catch (error) {
      problems.push(`${directory}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new FarmError(
    'ERR_SCHEDULER_FILE',
    `no directory for a credential file can be used (${problems.join('; ')}); set FARM_HOME`,
  );
}

/** Removes what schedulers left that were killed. Never fails. */
async function removeStale(directory: string, own: string): Promise<void> {
  const names = await readdir(directory).catch(() => []);
  const paths = names.filter((name) => name.endsWith('.json')).map((name) => join(directory, name));
  await Promise.allSettled(
    paths.slice(0, FILES_MAX).map(async (path) => {
      if (path === own) return;
      const { id, pid, machine } = await readCredential(path);
      if (isStale({ pid, host: machine })) await removeCredential(path, id);
    }),
  );
}

/** Removes a credential file if it is of this scheduler. Never fails. */
export async function removeCredential(path: string, id: string): Promise<void> {
  try {
    if ((await readCredential(path)).id === id) await unlink(path);
  } catch {
    // Gone already, or of another scheduler by now.
  }
}

/**
 * Finds the token for an address: the environment variable FARM_TOKEN, else the credential file of
 * a scheduler of this user that listens there. Names of this machine count as the same.
 *
 * @throws FarmError `ERR_UNAUTHORIZED` where there is none, saying what to pass.
 */
export async function findCredential(
  address: Address,
  role: TokenRole,
  env: Env = process.env,
): Promise<string> {
  const fromEnv = env['FARM_TOKEN'];
  if (fromEnv !== undefined && fromEnv !== '') return fromEnv;
  let best: StoredCredential | undefined;
  for (const home of homes(env)) {
    for (const stored of await readAll(join(home, 'credentials'), address.port)) {
      if (!isFor(stored, address.host)) continue;
      // A dead scheduler's port may be somebody else's by now: its token goes to no one.
      if (isStale({ pid: stored.pid, host: stored.machine })) continue;
      if (best === undefined || stored.startedMs > best.startedMs) best = stored;
    }
  }
  const token = best?.tokens[role];
  if (token !== undefined) return token;
  throw new FarmError(
    'ERR_UNAUTHORIZED',
    `no token for ${formatAddress(address)}; pass the scheduler file that its scheduler ` +
      'wrote, or set FARM_TOKEN',
  );
}

/**
 * Whether the scheduler that listened at an address is known to have ended: it left its credential
 * file on this machine, and its process is gone.
 */
export async function hasEnded(address: Address, env: Env = process.env): Promise<boolean> {
  let isDeadOneKnown = false;
  for (const home of homes(env)) {
    for (const stored of await readAll(join(home, 'credentials'), address.port)) {
      if (!isFor(stored, address.host)) continue;
      if (!isStale({ pid: stored.pid, host: stored.machine })) return false;
      isDeadOneKnown = true;
    }
  }
  return isDeadOneKnown;
}

interface StoredCredential {
  readonly id: string;
  readonly machine: string;
  readonly hosts: readonly string[];
  readonly port: number;
  readonly startedMs: number;
  readonly pid: number;
  readonly tokens: Readonly<Partial<Record<TokenRole, string>>>;
}

/** Directories for this user's files, best first. */
function homes(env: Env): readonly string[] {
  const chosen = env['FARM_HOME'];
  if (chosen !== undefined && chosen !== '') return [chosen];
  const home = env['HOME'] ?? safeHome();
  const user = process.getuid?.() ?? 'user';
  return [
    ...(home === undefined || home === '' ? [] : [join(home, '.farm')]),
    join(tmpdir(), `farm-${user}`),
  ];
}

function safeHome(): string | undefined {
  try {
    return homedir();
  } catch {
    return undefined;
  }
}

/** Makes a directory for this user alone, or makes sure that it is one. */
async function ensurePrivate(directory: string): Promise<void> {
  await makeDirectoriesAsync(directory, 0o700);
  await assertOwn(directory);
}

/** In a shared directory anybody could have made it first, or made it a link. */
async function assertOwn(directory: string): Promise<void> {
  const stats = await lstat(directory);
  const user = process.getuid?.();
  if (!stats.isDirectory()) throw new Error('it is not a directory');
  if (user !== undefined && stats.uid !== user) throw new Error('it is of another user');
  if (user !== undefined && (stats.mode & 0o022) !== 0) throw new Error('others may write to it');
}

/** What others may call the host a scheduler is bound to. */
function namesOf(host: string, machine: string): readonly string[] {
  if (host === '' || host === '0.0.0.0' || host === '::') return [machine, ...localAddresses()];
  return isLoopback(host) ? [host] : [host, machine];
}

/** Whether a scheduler is the one at `host`, seen from this machine. */
function isFor(stored: StoredCredential, host: string): boolean {
  const isHere = stored.machine === hostname();
  const dialed = host.toLowerCase();
  const names = stored.hosts.map((name) => name.toLowerCase());
  // Loopback is another machine on every machine. A scheduler on all interfaces lists it.
  if (isLoopback(dialed)) return isHere && names.some(isLoopback);
  return names.includes(dialed);
}

async function readAll(directory: string, port: number): Promise<readonly StoredCredential[]> {
  try {
    await assertOwn(directory);
    const names = (await readdir(directory)).filter((name) => name.endsWith(`_${port}.json`));
    const settled = await Promise.allSettled(
      names.slice(0, FILES_MAX).map((name) => readCredential(join(directory, name))),
    );
    return settled
      .flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []))
      .filter((stored) => stored.port === port);
  } catch {
    return [];
  }
}

/** Throws where the file is not a credential; the caller passes over it then. */
async function readCredential(path: string): Promise<StoredCredential> {
  const content: unknown = JSON.parse((await readSmallFile(path)).text);
  if (isCredential(content)) return content;
  throw new Error('not a credential file');
}

function isCredential(content: unknown): content is StoredCredential {
  if (typeof content !== 'object' || content === null) return false;
  // SAFE: an object may be read by name; what is read is unknown.
  const { version, id, machine, hosts, port, startedMs, pid, tokens } = content as Record<
    string,
    unknown
  >;
  return (
    version === FORMAT_VERSION &&
    typeof id === 'string' &&
    typeof machine === 'string' &&
    Array.isArray(hosts) &&
    hosts.every((host) => typeof host === 'string') &&
    Number.isSafeInteger(port) &&
    Number.isFinite(startedMs) &&
    Number.isSafeInteger(pid) &&
    Number(pid) > 0 &&
    typeof tokens === 'object' &&
    tokens !== null &&
    Object.values(tokens).every((token) => typeof token === 'string')
  );
}

function fileSafe(name: string): string {
  return name.replaceAll(/[^\w.-]/g, '_');
}

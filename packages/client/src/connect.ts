import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

import {
  type Address,
  FarmError,
  PROTOCOL_VERSION,
  describeSchedulerFile,
  dial,
  findCredential,
  formatAddress,
  hasEnded,
  isStale,
  parseAddress,
  readSchedulerFile,
  reconnect,
  waitForSchedulerFile,
} from '@farm/protocol';
import { nanoid } from 'nanoid';

import { type CheckedTarget, type ClusterLike, SCHEDULER_PORT } from './client-options.ts';
import type { Connected } from './session.ts';

/** How to connect, and what to undo at the end. */
export interface Connecting {
  /** Connects once; rejects with the signal's reason when that aborts. */
  readonly connect: (signal: AbortSignal) => Promise<Connected>;
  /** Ends the local cluster, if one was started. */
  readonly closeOwnCluster: () => Promise<void>;
}

/** A scheduler that is known to be there. */
interface Endpoint {
  readonly address: Address;
  readonly token: string;
  /** Where this is known from, for the message of a failure; empty where the user said it. */
  readonly source: string;
}

/** Connecting is tried again for this long, from when it is known where to. */
const CONNECT_MS = 30_000;
/** One attempt; between attempts the scheduler file is read again. */
const ATTEMPT_MS = 10_000;
const BACKOFF_MS_FIRST = 50;
const BACKOFF_MS_MAX = 1_000;

/** Makes the way to a target: an address, a scheduler file, or a local cluster yet to be started. */
export function connectTo(target: CheckedTarget): Connecting {
  let own: Promise<ClusterLike> | undefined;
  const connect = async (signal: AbortSignal): Promise<Connected> => {
    if (target.via !== 'local') return connectRepeatedly(target, signal);
    own = startLocalCluster();
    const { address, token, schedulerFile } = await own;
    signal.throwIfAborted();
    const via = schedulerFile === undefined ? 'address' : 'scheduler-file';
    return connectRepeatedly({ ...target, via, address, token, schedulerFile }, signal);
  };
  const closeOwnCluster = async (): Promise<void> => {
    // One that did not start has nothing to close; connecting tells why.
    const cluster = await own?.catch(() => undefined);
    await cluster?.close();
  };
  return { connect, closeOwnCluster };
}

async function connectRepeatedly(target: CheckedTarget, signal: AbortSignal): Promise<Connected> {
  const startedMs = performance.now();
  const incarnation = nanoid();
  let deadlineMs = target.timeoutMs === undefined ? Infinity : startedMs + target.timeoutMs;
  for (let attempt = 1; ; attempt += 1) {
    const endpoint = await findEndpoint(target, deadlineMs - performance.now(), signal);
    if (deadlineMs === Infinity) deadlineMs = performance.now() + CONNECT_MS;
    const leftMs = Math.max(1, deadlineMs - performance.now());
    try {
      return await connectOnce(target, endpoint, {
        incarnation,
        name: target.name ?? `client-${incarnation}`,
        timeoutMs: Math.min(leftMs, ATTEMPT_MS),
        signal,
      });
    } catch (error) {
      if (!(error instanceof FarmError) || error.code !== 'ERR_CONNECT') throw error;
      const waitMs = Math.min(BACKOFF_MS_FIRST * 2 ** (attempt - 1), BACKOFF_MS_MAX);
      if (performance.now() + waitMs >= deadlineMs) throw explained(error, endpoint, attempt);
      await delay(waitMs, undefined, { signal });
    }
  }
}

async function findEndpoint(
  target: CheckedTarget,
  leftMs: number,
  signal: AbortSignal,
): Promise<Endpoint> {
  if (target.schedulerFile !== undefined) {
    const file = await waitForSchedulerFile(target.schedulerFile, {
      role: 'client',
      timeoutMs: leftMs === Infinity ? null : Math.ceil(leftMs),
      signal,
      onWaiting: (message) => process.stderr.write(`${message}\n`),
      onWarning: (message) => process.emitWarning(message),
    });
    const source = describeSchedulerFile(file, Date.now());
    return { address: file.address, token: target.token ?? file.token, source };
  }
  const address = parseAddress(target.address ?? '', { defaultPort: SCHEDULER_PORT });
  const token = target.token ?? (await findCredential(address, 'client'));
  return { address, token, source: '' };
}

interface Attempt {
  readonly incarnation: string;
  readonly name: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

async function connectOnce(
  target: CheckedTarget,
  endpoint: Endpoint,
  attempt: Attempt,
): Promise<Connected> {
  const { incarnation, name, timeoutMs, signal } = attempt;
  const { address, token } = endpoint;
  const hello = {
    op: 'hello',
    role: 'client',
    protocol: PROTOCOL_VERSION,
    version: packageVersion(),
    incarnation,
    name,
    ...(target.weight === undefined ? {} : { weight: target.weight }),
  } as const;
  const { connection, welcome } = await dial({
    address,
    role: 'client',
    token,
    hello,
    timeoutMs,
    signal,
  });
  return {
    connection,
    address: formatAddress(address),
    heartbeatMs: welcome.heartbeatMs,
    reconnect: async (ending) => {
      await reconnect(connection, {
        leaseMs: welcome.leaseMs,
        signal: ending,
        dial: async (signal) => {
          const now = (await readEndpoint(target)) ?? endpoint;
          if (now.token !== token) {
            throw new FarmError('ERR_CONNECTION_LOST', `another scheduler is there${now.source}`);
          }
          const resume = connection;
          const dialling = { address: now.address, role: 'client', token, hello } as const;
          await dial({ ...dialling, timeoutMs: ATTEMPT_MS, signal, resume });
        },
        isHopeless: (error) => isSchedulerGone(target, endpoint, error),
      });
    },
  };
}

/** Where the scheduler is now, as its file says; null where there is none to read. */
async function readEndpoint({ schedulerFile, token }: CheckedTarget): Promise<Endpoint | null> {
  if (schedulerFile === undefined) return null;
  try {
    const file = await readSchedulerFile(schedulerFile, { role: 'client' });
    const source = `, says the ${describeSchedulerFile(file, Date.now())}`;
    return { address: file.address, token: token ?? file.token, source };
  } catch {
    return null;
  }
}

/** Whether nothing listens any more, and the scheduler is known to have ended. */
async function isSchedulerGone(
  { schedulerFile }: CheckedTarget,
  { address }: Endpoint,
  { cause }: FarmError,
): Promise<boolean> {
  const isRefused = cause instanceof Error && 'code' in cause && cause.code === 'ECONNREFUSED';
  if (!isRefused) return false;
  if (schedulerFile === undefined) return hasEnded(address);
  try {
    return isStale(await readSchedulerFile(schedulerFile, { role: 'client' }));
  } catch {
    // A scheduler that ends removes its file.
    return true;
  }
}

function explained(error: FarmError, endpoint: Endpoint, attempts: number): FarmError {
  const tried = attempts === 1 ? '' : `tried ${attempts} times`;
  const notes = [endpoint.source, tried].filter((note) => note !== '').join('; ');
  const message = notes === '' ? error.message : `${error.message} (${notes})`;
  return new FarmError(error.code, message, { cause: error });
}

/** As much of `@farm/cluster` as is needed here. It depends on this package, not the other way. */
interface ClusterModule {
  readonly LocalCluster: { start(): Promise<ClusterLike> };
}

async function startLocalCluster(): Promise<ClusterLike> {
  const name = '@farm/cluster';
  let module: ClusterModule;
  try {
    // SAFE: it is a package of the same version.
    module = (await import(name)) as ClusterModule;
  } catch (cause) {
    throw new FarmError(
      'ERR_CONNECT',
      `no address is given, and ${name}, which starts a local cluster, cannot be loaded; ` +
        `pass an address or a scheduler file, or run: npm install ${name}`,
      { cause },
    );
  }
  return module.LocalCluster.start();
}

function packageVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  const manifest: unknown = JSON.parse(text);
  return typeof manifest === 'object' && manifest !== null && 'version' in manifest
    ? String(manifest.version)
    : '0.0.0';
}

import { FarmError, parseAddress } from '@farm/protocol';

import { checkTimeout } from './deadline.ts';
import { checkOptionNames } from './option-names.ts';

/** Where a scheduler is, and how to connect to it. */
export interface ClientOptions {
  /** `tcp://host:port`, `tls://…`, `ws://…`, `wss://…` or `host:port`. */
  readonly address?: string;
  /**
   * The file that the scheduler writes when it starts; waited for while it is not there. Relative
   * paths start in this process's directory.
   */
  readonly schedulerFile?: string;
  /**
   * Token of the client role.
   * @default as the scheduler file has it; with an address alone the environment variable
   *   FARM_TOKEN, else from the credential file that a scheduler of the same user leaves
   */
  readonly token?: string;
  /**
   * Name of this client in the scheduler's log.
   * @default a random one
   */
  readonly name?: string;
  /**
   * How long connecting may take, milliseconds, waiting for the scheduler file included.
   * @default 30_000 from when the scheduler file is there; no limit for the file
   */
  readonly timeoutMs?: number;
  /**
   * Share of the workers' time beside other clients that have tasks ready, above 0: a client with 2
   * gets twice the time of one with 1, whatever their priorities.
   * @default none: all clients without a weight share one of 1, in order of their submissions
   */
  readonly weight?: number;
}

/** A cluster that this process started, for example a `LocalCluster`. */
export interface ClusterLike {
  readonly address: string;
  readonly token?: string | undefined;
  readonly schedulerFile?: string | undefined;
  close(): Promise<void>;
}

/** What a client connects to; an address may be given alone. */
export type ClientTarget = string | ClientOptions | ClusterLike;

/** Checked: what to connect to, and how. */
export interface CheckedTarget {
  /** `local`: to a cluster that is to be started first. */
  readonly via: 'address' | 'scheduler-file' | 'local';
  readonly address: string | undefined;
  readonly schedulerFile: string | undefined;
  readonly token: string | undefined;
  readonly name: string | undefined;
  readonly timeoutMs: number | undefined;
  readonly weight: number | undefined;
}

/** Port of a scheduler that an address does not name. */
export const SCHEDULER_PORT = 8_786;

const OPTION_NAMES: Readonly<Record<keyof ClientOptions, true>> = {
  address: true,
  schedulerFile: true,
  token: true,
  name: true,
  timeoutMs: true,
  weight: true,
};

/**
 * Checks what a client is made with.
 *
 * @throws FarmError `ERR_ARGUMENT` naming the option, `ERR_ADDRESS` for an address that is none.
 */
export function checkTarget(
  target: ClientTarget | undefined,
  options: ClientOptions | undefined,
): CheckedTarget {
  const given = fromTarget(target);
  if (options !== undefined) checkOptionNames(options, OPTION_NAMES, 'Client');
  const merged: ClientOptions = { ...given, ...options };
  const { address, schedulerFile, token, name, timeoutMs, weight } = merged;
  const texts: Readonly<Record<string, unknown>> = { address, schedulerFile, token, name };
  for (const [option, value] of Object.entries(texts)) {
    if (value === undefined || (typeof value === 'string' && value !== '')) continue;
    throw refusal(`${option} is ${value === '' ? 'an empty text' : 'not a text'}`);
  }
  checkTimeout(timeoutMs);
  if (weight !== undefined && !(Number.isFinite(weight) && weight > 0)) {
    throw refusal(`weight is ${String(weight)}: give a number above 0`);
  }
  if (address !== undefined) parseAddress(address, { defaultPort: SCHEDULER_PORT });
  const via =
    schedulerFile !== undefined ? 'scheduler-file' : address !== undefined ? 'address' : 'local';
  return { via, address, schedulerFile, token, name, timeoutMs, weight };
}

function fromTarget(target: ClientTarget | undefined): ClientOptions {
  if (target === undefined) return {};
  if (typeof target === 'string') return { address: target };
  if (typeof target !== 'object' || target === null) {
    throw refusal(`${String(target)} is no address, options or cluster to connect to`);
  }
  if (!isCluster(target)) {
    checkOptionNames(target, OPTION_NAMES, 'Client');
    return target;
  }
  const { address, token, schedulerFile } = target;
  return {
    address,
    ...(token === undefined ? {} : { token }),
    ...(schedulerFile === undefined ? {} : { schedulerFile }),
  };
}

function isCluster(target: ClientOptions | ClusterLike): target is ClusterLike {
  return 'close' in target && typeof target.close === 'function';
}

function refusal(problem: string): FarmError {
  return new FarmError('ERR_ARGUMENT', `Client: ${problem}`);
}

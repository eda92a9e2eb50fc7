/** Where results are, and moving them: what a client asks of its cluster. */
import { FarmError } from '@farm/protocol';
import type { HasWhat, Replicated, Retired, WhoHas } from '@farm/protocol';

import { Future } from './future.ts';
import { checkOptionNames } from './option-names.ts';
import { copyCount, workerNames } from './scatter.ts';
import type { Session } from './session.ts';

/** Which workers are to retire, and how. Either `workers` or `count` is given. */
export interface RetireOptions {
  /** Their names, addresses or hosts. */
  readonly workers?: string | readonly string[];
  /** How many: idle ones first, then those that hold the fewest bytes, none with a long task. */
  readonly count?: number;
  /**
   * Whether they end. Otherwise they stay connected and get no tasks.
   * @default true
   */
  readonly close?: boolean;
  /**
   * Milliseconds that running tasks may take to end; later they are run again elsewhere.
   * @default 60_000
   */
  readonly timeoutMs?: number;
}

/** How results are to be copied. */
export interface ReplicateOptions {
  /**
   * Copies of each; more than that are dropped.
   * @default one on every worker
   */
  readonly n?: number;
  /**
   * Names, addresses or hosts of the workers that may get one.
   * @default any
   */
  readonly workers?: string | readonly string[];
}

/** What is to be moved. */
export interface RebalanceOptions {
  /** @default all results */
  readonly futures?: readonly Future[];
  /** @default all workers */
  readonly workers?: string | readonly string[];
}

const RETIRE_TIMEOUT_MS = 60_000;
const RETIRE_NAMES: Readonly<Record<keyof RetireOptions, true>> = {
  workers: true,
  count: true,
  close: true,
  timeoutMs: true,
};

/** @see Client.retireWorkers */
export async function retireWorkers(session: Session, options: RetireOptions): Promise<Retired> {
  checkOptionNames(options, RETIRE_NAMES, 'retireWorkers');
  const { count = 0, close = true, timeoutMs = RETIRE_TIMEOUT_MS } = options;
  const workers = workerNames('retireWorkers: workers', options.workers);
  if ((options.workers === undefined) === (options.count === undefined)) {
    throw new FarmError('ERR_ARGUMENT', 'retireWorkers: give either workers or count');
  }
  if (!Number.isSafeInteger(count) || count < 0) {
    throw new FarmError('ERR_ARGUMENT', `retireWorkers: count is not a number: ${String(count)}`);
  }
  if (!Number.isFinite(timeoutMs) || timeoutMs < 0) {
    const problem = 'retireWorkers: timeoutMs is not a number of milliseconds from 0 on';
    throw new FarmError('ERR_ARGUMENT', `${problem}: ${String(timeoutMs)}`);
  }
  // With no names at all there is nobody to retire.
  if (workers.length === 0 && count === 0) return { retired: [], kept: [] };
  return session.ask('retire-workers', { workers, count, close, timeoutMs });
}

/** @see Client.replicate */
export async function replicate(
  session: Session,
  futures: readonly Future[],
  { n, workers }: ReplicateOptions,
): Promise<Replicated> {
  const copies = n === undefined ? 0 : copyCount('replicate: n', n);
  const names = workerNames('replicate: workers', workers);
  const ids = idsOf(session, futures);
  return session.ask('replicate', { ids, copies, workers: names });
}

/** @see Client.rebalance */
export async function rebalance(
  session: Session,
  { futures, workers }: RebalanceOptions,
): Promise<Replicated> {
  const names = workerNames('rebalance: workers', workers);
  if (futures?.length === 0) return { copied: 0, dropped: 0, failed: [] };
  return session.ask('rebalance', { ids: idsOf(session, futures ?? []), workers: names });
}

/** @see Client.whoHas */
export async function whoHas(session: Session, futures: readonly Future[]): Promise<WhoHas> {
  return session.ask('who-has', { ids: idsOf(session, futures) });
}

/** @see Client.hasWhat */
export async function hasWhat(
  session: Session,
  workers?: string | readonly string[],
): Promise<HasWhat> {
  return session.ask('has-what', { workers: workerNames('hasWhat: workers', workers) });
}

function idsOf(session: Session, futures: readonly Future[]): number[] {
  return futures.map((future) => {
    if (Future.isFuture(future) && Future.sessionOf(future) === session) return Future.idOf(future);
    throw new FarmError('ERR_FOREIGN_FUTURE', 'one of these is not a future of this client');
  });
}

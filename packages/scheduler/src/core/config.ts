import { LIMITS } from '@farm/protocol/core';

import type { Observing } from './observations.ts';

/** What a scheduler is told at its start. Durations in the unit of their name. */
export interface SchedulerConfig {
  /** Identity; another one at every start. */
  readonly id: string;
  /** As others dial it, for humans. */
  readonly address: string;
  /** Clock at the start, milliseconds since the epoch. */
  readonly startedMs: number;
  /** End after this long without work. @default null, never */
  readonly idleTimeoutMs?: number | null;
  /** Deaths of workers a task survives. @default 3 */
  readonly allowedFailures?: number;
  /** Work sent ahead to each slot, by mean duration: about two round trips. @default 20 */
  readonly prefetchTargetMs?: number;
  /** Most tasks sent ahead to one slot. @default 4096 */
  readonly prefetchTasksMax?: number;
  /** Tasks that take longer are never sent ahead, so that no slot waits for another. @default 200 */
  readonly longTaskMs?: number;
  /** Results above this size are made ahead of their consumers in free slots only. @default 64 KiB */
  readonly prefetchBytesMax?: number;
  /** What a task counts as a worker's load while its duration is unknown. @default 500 */
  readonly unknownDurationMs?: number;
  /** A task that found no room for this long gets a worker cleared for it. @default 1000 */
  readonly reserveAfterMs?: number;
  /** A client's submits no longer apart than this belong together. @default 100 */
  readonly fifoWindowMs?: number;
  /** How fast workers are thought to exchange data. @default 100e6, as Dask */
  readonly bandwidthBytesPerS?: number;
  /** What a transfer takes besides its bytes. @default 1 */
  readonly transferLatencyMs?: number;
  /** How often unstarted tasks of loaded workers are offered to idle ones; null: never. @default 100 */
  readonly stealIntervalMs?: number | null;
  /** What moving a task from worker to worker costs besides its inputs: two round trips. @default 20 */
  readonly stealCostMs?: number;
  /** How long a task that was moved, or could not be, is left where it is. @default 10000 */
  readonly stealAgainMs?: number;
  /** Bytes of small results kept for later dependents and clients. @default 64 MiB */
  readonly inlineTotalBytesMax?: number;
  /** Bytes of scattered values that no worker holds yet. @default 256 MiB */
  readonly scatterBytesMax?: number;
  /** Entries of the transition log. @default 10000 */
  readonly storyEntriesMax?: number;
  /**
   * How long a failure waits for a nanny to tell how its worker died: it starts the next one after
   * up to 5 s. @default 10000
   */
  readonly deathDetailsMs?: number;
  /** How long copies that nothing needs are kept for what may come. @default 2000 */
  readonly surplusAfterMs?: number;
  /** How long a worker that lost its connection may take to come back. @default 30000 */
  readonly workerLeaseMs?: number;
  /** The same for a client. @default 30000 */
  readonly clientLeaseMs?: number;
  /** What plugins are told of. @default 'nothing' */
  readonly observe?: Observing;
  /**
   * A worker with a nanny that is paused for so long is restarted, its results copied elsewhere.
   * @default 300_000
   */
  readonly pausedMaxMs?: number;
  /** How long workers may take to leave at shutdown. @default 5000 */
  readonly shutdownMs?: number;
}

/** {@link SchedulerConfig} with its defaults filled in. */
export type ResolvedConfig = Required<SchedulerConfig>;

/** Fills in the defaults. */
export function resolveConfig(config: SchedulerConfig): ResolvedConfig {
  return {
    idleTimeoutMs: null,
    allowedFailures: LIMITS.allowedFailures,
    prefetchTargetMs: 20,
    prefetchTasksMax: 4_096,
    prefetchBytesMax: 65_536,
    fifoWindowMs: 100,
    bandwidthBytesPerS: 100_000_000,
    transferLatencyMs: 1,
    stealIntervalMs: 100,
    stealCostMs: 20,
    stealAgainMs: 10_000,
    longTaskMs: 200,
    unknownDurationMs: 500,
    reserveAfterMs: 1_000,
    inlineTotalBytesMax: LIMITS.inlineTotalBytesMax,
    scatterBytesMax: LIMITS.scatterBytesMax,
    storyEntriesMax: LIMITS.storyEntriesMax,
    deathDetailsMs: 10_000,
    surplusAfterMs: 2_000,
    workerLeaseMs: LIMITS.leaseMs,
    clientLeaseMs: LIMITS.leaseMs,
    observe: 'nothing',
    pausedMaxMs: 300_000,
    shutdownMs: 5_000,
    ...config,
  };
}

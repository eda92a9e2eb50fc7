import { LIMITS } from '@farm/protocol/core';

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
  /** What a task counts as a worker's load while its duration is unknown. @default 500 */
  readonly unknownDurationMs?: number;
  /** A task that found no room for this long gets a worker cleared for it. @default 1000 */
  readonly reserveAfterMs?: number;
  /** Bytes of small results kept for later dependents and clients. @default 64 MiB */
  readonly inlineTotalBytesMax?: number;
  /** Entries of the transition log. @default 10000 */
  readonly storyEntriesMax?: number;
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
    longTaskMs: 200,
    unknownDurationMs: 500,
    reserveAfterMs: 1_000,
    inlineTotalBytesMax: LIMITS.inlineTotalBytesMax,
    storyEntriesMax: LIMITS.storyEntriesMax,
    shutdownMs: 5_000,
    ...config,
  };
}

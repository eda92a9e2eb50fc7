/** Questions about where results are and which workers are needed: parameters and answers. */
import type { ResourceAmounts } from './records.ts';

/** What `retire-workers` asks for. */
export interface RetireParams {
  /** Names, addresses or hosts. Empty means: choose `count` of them. */
  readonly workers: readonly string[];
  /** How many to choose where none is named. */
  readonly count: number;
  /** Whether they are ended; otherwise they stay connected and get no tasks. */
  readonly close: boolean;
  /** How long running tasks may take to end; what runs longer is run again elsewhere. */
  readonly timeoutMs: number;
}

/** What came of a retirement. */
export interface Retired {
  /** Names of the workers that are retired. */
  readonly retired: readonly string[];
  /** Those that go on as before, and why. */
  readonly kept: readonly { readonly worker: string; readonly reason: string }[];
}

/** What `replicate` asks for. */
export interface ReplicateParams {
  readonly ids: readonly number[];
  /** Copies of each, from 1; 0 means one on every worker. */
  readonly copies: number;
  /** Names, addresses or hosts to choose from; empty means any. */
  readonly workers: readonly string[];
}

/** What `rebalance` asks for. */
export interface RebalanceParams {
  /** Only these futures; empty means all results. */
  readonly ids: readonly number[];
  /** Only between these workers; empty means all. */
  readonly workers: readonly string[];
}

/** What came of copying results. */
export interface Replicated {
  /** Copies that were made. */
  readonly copied: number;
  /** Copies that were dropped. */
  readonly dropped: number;
  /** Copies that could not be made, and why. */
  readonly failed: readonly { readonly key: string; readonly reason: string }[];
}

/** For each future its key and the names of the workers that hold its result. */
export type WhoHas = readonly { readonly key: string; readonly workers: readonly string[] }[];

/** For each worker its name and the keys of the results it holds. */
export type HasWhat = readonly { readonly worker: string; readonly keys: readonly string[] }[];

/** Workers that one kind of task asks for. */
export interface AdaptiveRequirement {
  readonly threads: number;
  readonly resources: ResourceAmounts;
  /** Restriction of the tasks; empty means any worker. */
  readonly workers: readonly string[];
  /** Tasks that are ready or running. */
  readonly tasks: number;
  /** Workers that offer this, to do those tasks in the target duration. */
  readonly target: number;
}

/** How many workers the work at hand asks for. */
export interface AdaptiveTarget {
  /** Workers in all; at least 1 while there is work. */
  readonly target: number;
  /** The same for each distinct requirement: only workers that offer it count. */
  readonly requirements: readonly AdaptiveRequirement[];
}

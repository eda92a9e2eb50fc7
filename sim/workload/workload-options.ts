import type { WorkerPlan } from '../scenario.ts';

/** What the workload of a seed may contain, and how often. */
export interface WorkloadOptions {
  readonly tasks: number;
  readonly clients: number;
  /** When the last submit comes at the latest. */
  readonly untilMs: number;
  readonly workers: readonly WorkerPlan[];
  /** Names out of {@link WORKLOAD_FEATURES}. */
  readonly features: ReadonlySet<string>;
}

/** What a workload has in some seeds and not in others. */
export const WORKLOAD_FEATURES = [
  'task-error',
  'task-hang',
  'task-timeout',
  'slot-crash',
  'poison',
  'large-values',
  'huge-values',
  'micro-tasks',
  'long-tasks',
  'resources',
  'restrictions',
  'priorities',
  'retries',
  'release',
  'cancel',
  'client-retry',
  'gather',
  'questions',
  'shared-keys',
  'contested-keys',
  'flip-flop',
  'foreign-futures',
  'retry-delays',
  'run-once',
  'flaky',
  'scatter',
  'copies',
  'retire',
  'leases',
  'queues',
] as const;

/** Some workers have a memory limit, and there are values that they spill. */
export const MEMORY_FEATURE = 'memory-limits';

/** One of these. */
export type Feature = (typeof WORKLOAD_FEATURES)[number] | typeof MEMORY_FEATURE;

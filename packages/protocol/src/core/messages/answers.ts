/** What the questions of a client are answered with. */
import type { WorkerMetrics } from './from-worker.ts';
import type { ResourceAmounts } from './records.ts';

/** One worker as {@link SchedulerInfo} shows it. */
export interface WorkerInfo {
  readonly name: string;
  readonly address: string | null;
  readonly host: string;
  readonly pid: number;
  readonly nthreads: number;
  readonly resources: ResourceAmounts;
  readonly memoryLimitBytes: number | null;
  readonly localDirectory: string;
  readonly nanny: boolean;
  /** Runs assigned and not ended. */
  readonly processing: number;
  readonly metrics: WorkerMetrics | null;
  /** Milliseconds since the worker was last heard. */
  readonly silentMs: number;
}

/** Names of the states a task can be in. */
export type TaskStateName =
  | 'released'
  | 'waiting'
  | 'queued'
  | 'no-worker'
  | 'processing'
  | 'memory'
  | 'erred'
  | 'forgotten';

/** What `client.schedulerInfo()` answers. */
export interface SchedulerInfo {
  readonly type: 'Scheduler';
  readonly id: string;
  readonly address: string;
  /** Scheduler clock at its start, milliseconds since the epoch. */
  readonly startedMs: number;
  readonly workers: readonly WorkerInfo[];
  readonly clients: number;
  /** Number of tasks in each state. */
  readonly tasks: Readonly<Record<TaskStateName, number>>;
}

/** What `client.explain(key)` answers. */
export interface Explanation {
  readonly key: string;
  /** Null where the scheduler does not know the key. */
  readonly state: TaskStateName | null;
  /** One sentence: where the task is and what it waits for. */
  readonly summary: string;
  /** Keys of unfinished dependencies (at most 20). */
  readonly waitingFor: readonly string[];
  /** Per worker: why the task does not run there. */
  readonly workers: readonly { readonly worker: string; readonly reason: string }[];
}

/** One line of a key's story. */
export interface StoryEntry {
  readonly key: string;
  readonly from: TaskStateName;
  readonly to: TaskStateName;
  /** What caused it, for example `submit` or `worker w-1 lost: connection closed`. */
  readonly cause: string;
  readonly run: number | null;
  readonly worker: string | null;
  /** Scheduler clock, milliseconds since the epoch. */
  readonly atMs: number;
}

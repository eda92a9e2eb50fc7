/** What the questions of a client are answered with. */
import type { WorkerMetrics } from './from-worker.ts';
import type { ResourceAmounts } from './records.ts';

/**
 * Whether a worker takes tasks: it does while `running`; `retiring`, it finishes what it has;
 * `away`, it has lost its connection and may come back.
 */
export type WorkerStatus = 'running' | 'retiring' | 'away';

/** One worker as {@link SchedulerInfo} shows it. */
export interface WorkerInfo {
  readonly name: string;
  readonly status: WorkerStatus;
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
  /** What they are expected to take together, milliseconds of one slot. */
  readonly occupancyMs: number;
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

/** The tasks that run functions of one name. */
export interface PrefixInfo {
  readonly name: string;
  /** Moving average of their durations; null while it is not known. */
  readonly meanMs: number | null;
  /** The same of their results' sizes. */
  readonly meanBytes: number | null;
  /** Runs that ended well since the scheduler's start. */
  readonly finished: number;
  /** Number of tasks in each state. */
  readonly tasks: Readonly<Record<TaskStateName, number>>;
}

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
  /** By name of the function, at most 1000: the one that was defined last first. */
  readonly prefixes: readonly PrefixInfo[];
  /**
   * Sentences about tasks of the client that asks which cannot begin, since tasks that wait for others
   * hold what they need.
   */
  readonly heldUp: readonly string[];
}

/** Tasks that were submitted together, or that run one function, as `client.groups()` shows them. */
export interface GroupInfo {
  /** Of a `map`, what its tasks' keys begin with; of single tasks, the name of their function. */
  readonly key: string;
  /** Name of the function. */
  readonly fn: string;
  /** Tasks in each state; with forgotten ones all that were submitted, of blocks that have tasks. */
  readonly tasks: Readonly<Record<TaskStateName, number>>;
  /** Of the results in memory. */
  readonly bytes: number;
  /** What those took, added up. */
  readonly computeMs: number;
}

/** Part of a user's work, as `client.spans()` shows it. */
export interface SpanInfo {
  /** Its names, outermost first. */
  readonly path: readonly string[];
  /** Tasks in each state, those of inner spans too; with forgotten ones all that were submitted. */
  readonly tasks: Readonly<Record<TaskStateName, number>>;
  /** When its first task was submitted, milliseconds since the epoch. */
  readonly startMs: number;
  /** When its last task ended; null while it has unfinished ones. */
  readonly stopMs: number | null;
  /** What its tasks have run, added up. */
  readonly computeMs: number;
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

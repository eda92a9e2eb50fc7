/** Records that several messages carry. */
import type { ErrorCode } from '../errors.ts';

/** Named amounts, for example `[['GPU', 1], ['MEM', 10e9]]`. Pairs, so that no name can collide
 * with an object's own properties. */
export type ResourceAmounts = readonly (readonly [name: string, amount: number])[];

/** Why a task has no result. */
export interface Failure {
  readonly code: ErrorCode;
  /** One bounded line for humans. */
  readonly message: string;
  /** Key of the task that failed first; equals the task's own key unless a dependency failed. */
  readonly origin: string;
  /** Name of the worker it failed on, if any. */
  readonly worker: string | null;
  /** What user code threw (`encodeError`), undecoded; null where farm itself is the cause. */
  readonly error: Uint8Array | null;
  /** Name of the error that was thrown, for example `TypeError`; null where nothing was. */
  readonly name: string | null;
}

/** Builds a {@link Failure}. */
export function failure(
  code: ErrorCode,
  message: string,
  origin: string,
  worker: string | null,
  error: Uint8Array | null,
  name: string | null = null,
): Failure {
  return { code, message, origin, worker, error, name };
}

/** How a block of tasks is to be run. */
export interface TaskOptions {
  /** Amounts a worker must have free. `threads` counts slots and is 1 unless said otherwise. */
  readonly resources: ResourceAmounts;
  /** Worker names, addresses or hosts the tasks are restricted to; empty means any. */
  readonly workers: readonly string[];
  /** Whether the restriction is a preference only. */
  readonly allowOtherWorkers: boolean;
  /** How often a failed task is tried again. Deaths of workers are not counted. */
  readonly retries: number;
  /** Larger runs earlier. */
  readonly priority: number;
  /** Longest run of one attempt, from its start. Null means no limit. */
  readonly timeoutMs: number | null;
  /** Wait before the first retry; it doubles with each further one, up to ten minutes. */
  readonly retryDelayMs: number;
  /** Error names and codes that are worth a retry; empty means any. */
  readonly retryOn: readonly string[];
  /**
   * Whether a task that may have run is run again when its worker is lost, or its result with it.
   * False for tasks with side effects that must not happen twice: they err instead.
   */
  readonly rerunOnLoss: boolean;
  /** Names of the part of the user's work they are, outermost first; empty for none. */
  readonly spans: readonly string[];
  /** When a second run is begun beside a slow one; null for never. */
  readonly speculate: Speculation | null;
  /**
   * By what the memory a task asks for grows after a run that took more than it asked for. Null for
   * not at all: the run has failed then as any other.
   */
  readonly growMemory: number | null;
}

/**
 * A task is slow once it has run for longer than `factor` times the mean of its function, and for
 * longer than `minMs`.
 */
export type Speculation = readonly [factor: number, minMs: number];

/** The options of a task nobody asked anything special for. */
export const DEFAULT_TASK_OPTIONS: TaskOptions = {
  resources: [],
  workers: [],
  allowOtherWorkers: false,
  retries: 0,
  priority: 0,
  timeoutMs: null,
  retryDelayMs: 0,
  retryOn: [],
  rerunOnLoss: true,
  spans: [],
  speculate: null,
  growMemory: null,
};

/** Builds {@link TaskOptions} with the wire's key order. */
export function taskOptions(options: Partial<TaskOptions>): TaskOptions {
  return {
    resources: options.resources ?? DEFAULT_TASK_OPTIONS.resources,
    workers: options.workers ?? DEFAULT_TASK_OPTIONS.workers,
    allowOtherWorkers: options.allowOtherWorkers ?? DEFAULT_TASK_OPTIONS.allowOtherWorkers,
    retries: options.retries ?? DEFAULT_TASK_OPTIONS.retries,
    priority: options.priority ?? DEFAULT_TASK_OPTIONS.priority,
    timeoutMs: options.timeoutMs ?? DEFAULT_TASK_OPTIONS.timeoutMs,
    retryDelayMs: options.retryDelayMs ?? DEFAULT_TASK_OPTIONS.retryDelayMs,
    retryOn: options.retryOn ?? DEFAULT_TASK_OPTIONS.retryOn,
    rerunOnLoss: options.rerunOnLoss ?? DEFAULT_TASK_OPTIONS.rerunOnLoss,
    spans: options.spans ?? DEFAULT_TASK_OPTIONS.spans,
    speculate: options.speculate ?? DEFAULT_TASK_OPTIONS.speculate,
    growMemory: options.growMemory ?? DEFAULT_TASK_OPTIONS.growMemory,
  };
}

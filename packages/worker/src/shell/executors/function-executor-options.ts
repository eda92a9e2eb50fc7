import type { ExecutorHandlers, SchedulerContact } from './executor.ts';
import type { ResultLimit } from './result-limit.ts';

/** Options that every executor of functions has, be its slots threads or processes. */
export interface FunctionExecutorOptions {
  /** Number of slots, hence of threads or processes. */
  readonly slots: number;
  /** Name of this worker, for failures. */
  readonly workerName: string;
  readonly handlers: ExecutorHandlers;
  /** Where clients in tasks connect to. */
  readonly scheduler?: SchedulerContact | undefined;
  /** CPUs that each slot is bound to, as `taskset` takes them. @default all for all */
  readonly slotCpus?: readonly string[] | undefined;
  /** Largest result that is taken. @default no limit */
  readonly resultLimit?: ResultLimit | undefined;
  /**
   * Whether slots start at once, as many as there are cores, rather than with their first run. A
   * thread takes some 12 MiB and tens of milliseconds of a core. @default false
   */
  readonly prewarm?: boolean;
}

import type { FunctionExecutor, FunctionSpec } from '@farm/protocol';
import { FarmError, type Failure } from '@farm/protocol/core';
import type { ResourceLimits } from 'node:worker_threads';

import type { TaskCgroups } from '../task-memory/cgroups/task-cgroups.ts';
import { CommandExecutor } from './commands/command-executor.ts';
import type { CommandSite } from './commands/command-site.ts';
import type { Executor, ExecutorHandlers, ExecutorRun, SchedulerContact } from './executor.ts';
import { ProcessExecutor } from './processes/process-executor.ts';
import { resultLimit } from './result-limit.ts';
import { ThreadExecutor } from './threads/thread-executor.ts';

/** Options of {@link createExecutors}. */
export interface ExecutorsOptions {
  /** Number of slots; they are numbered from 0. */
  readonly slots: number;
  /** Name of this worker, for failures and for FARM_WORKER of commands. */
  readonly workerName: string;
  readonly handlers: ExecutorHandlers;
  /** What functions run in that do not ask for one themselves. @default 'threads' */
  readonly functionsIn?: FunctionExecutor;
  /** Where clients in tasks connect to. @default nowhere */
  readonly scheduler?: SchedulerContact | undefined;
  /** CPUs that each slot is bound to, as `taskset` takes them. @default all for all */
  readonly slotCpus?: readonly string[] | undefined;
  /** Memory limits of each slot's thread. @default Node's own */
  readonly resourceLimits?: ResourceLimits;
  /** Largest result of a function that is taken, bytes. @default no limit */
  readonly resultBytesMax?: number | undefined;
  /** Whether threads start at once, rather than with the first run of their slot. @default false */
  readonly prewarm?: boolean;
  /** Where relative directories of commands begin. @default process.cwd() */
  readonly cwd?: string;
  /** Whether large results of threads lie in files in memory, which other processes can map. @default false */
  readonly memoryFiles?: boolean;
  /** What commands inherit. @default process.env, as it is when a command starts */
  readonly env?: NodeJS.ProcessEnv;
  /** Who starts commands: a spawner where there can be one, or always Node. @default 'auto' */
  readonly commandSpawner?: 'auto' | 'node';
  /** What the worker's site adds to commands. @default nothing */
  readonly commandSite?: CommandSite;
  /** Control groups for tasks that ask for memory. @default none */
  readonly cgroups?: TaskCgroups | undefined;
}

/**
 * Makes the executor of a worker: functions run in threads or in processes of their own, commands
 * in processes, and a slot is at one of them at a time.
 *
 * @example
 * const executor = createExecutors({ slots: 4, workerName: 'w-1', handlers });
 * executor.define(1, 'double', { kind: 'source', name: 'double', source: '(x) => 2 * x' });
 * executor.execute(0, 1, runs);
 */
export function createExecutors(options: ExecutorsOptions): Executor {
  return new RoutingExecutor(options);
}

type Kind = 'threads' | 'processes' | 'commands';

/** Runs of one function, in the order they came. */
interface Batch {
  readonly kind: Kind;
  readonly fn: number;
  readonly runs: readonly ExecutorRun[];
}

interface RoutedSlot {
  /** Who has the slot, while it has runs. */
  kind: Kind;
  /** Runs handed on that have not ended. */
  outstanding: number;
  /** What came while the other kind had the slot, and everything that came after it. */
  waiting: Batch[];
}

class RoutingExecutor implements Executor {
  readonly #executors: Readonly<Record<Kind, Executor>>;
  readonly #handlers: ExecutorHandlers;
  readonly #kinds = new Map<number, Kind>();
  readonly #slots: readonly RoutedSlot[];
  /** Runs that go on without their slot, and with whom. */
  readonly #seceded = new Map<number, Kind>();

  readonly #functionsIn: FunctionExecutor;

  constructor({ handlers, functionsIn = 'threads', ...options }: ExecutorsOptions) {
    this.#handlers = handlers;
    this.#functionsIn = functionsIn;
    this.#slots = Array.from({ length: options.slots }, () => ({
      kind: 'threads' as const,
      outstanding: 0,
      waiting: [],
    }));
    const counting: ExecutorHandlers = {
      ended: (slot, results) => {
        const slotted = results.filter(({ run }) => !this.#seceded.delete(run));
        this.#count(slot, slotted.length);
        handlers.ended(slot, results);
        this.#next(slot);
      },
      erred: (slot, run, why, durationUs, isTerminated) => {
        if (!this.#seceded.delete(run)) this.#count(slot, 1);
        handlers.erred(slot, run, why, durationUs, isTerminated);
        this.#next(slot);
      },
      seceded: (slot, run) => {
        this.#seceded.set(run, this.#slot(slot).kind);
        this.#count(slot, 1);
        handlers.seceded(slot, run);
        this.#next(slot);
      },
      emptied: (slot, failed, unstarted) => this.#emptied(slot, failed, unstarted),
      withdrawn: (slot, withdrawn, started) => {
        this.#count(slot, withdrawn.length);
        handlers.withdrawn(slot, withdrawn, started);
        this.#next(slot);
      },
      output: (slot, stream, text) => handlers.output(slot, stream, text),
    };
    const { prewarm = false, resourceLimits } = options;
    const largest = resultLimit(options.resultBytesMax, options.workerName);
    this.#executors = {
      threads: new ThreadExecutor({
        ...options,
        resultLimit: largest,
        prewarm: prewarm && functionsIn === 'threads',
        handlers: counting,
      }),
      processes: new ProcessExecutor({
        ...options,
        resultLimit: largest,
        prewarm: prewarm && functionsIn === 'processes',
        heapMegabytes: resourceLimits?.maxOldGenerationSizeMb,
        handlers: counting,
      }),
      commands: new CommandExecutor({ ...options, handlers: counting }),
    };
  }

  define(fn: number, name: string, spec: FunctionSpec): void {
    const kind = spec.kind === 'command' ? 'commands' : (spec.executor ?? this.#functionsIn);
    this.#kinds.set(fn, kind);
    this.#executors[kind].define(fn, name, spec);
  }

  forget(fns: readonly number[]): void {
    for (const fn of fns) this.#kinds.delete(fn);
    for (const executor of Object.values(this.#executors)) executor.forget(fns);
  }

  execute(slot: number, fn: number, runs: readonly ExecutorRun[]): void {
    if (runs.length === 0) return;
    const kind = this.#kinds.get(fn);
    if (kind === undefined) throw new FarmError('ERR_INTERNAL', `function ${fn} is not defined`);
    const at = this.#slot(slot);
    const batch: Batch = { kind, fn, runs };
    const mustWait = at.waiting.length > 0 || (at.outstanding > 0 && at.kind !== kind);
    if (mustWait) at.waiting.push(batch);
    else this.#hand(slot, at, batch);
  }

  withdraw(
    slot: number,
    runs: readonly number[],
  ): { readonly withdrawn: readonly number[]; readonly started: readonly number[] } {
    const at = this.#slot(slot);
    const asked = new Set(runs);
    const withdrawn: number[] = [];
    at.waiting = at.waiting.flatMap((batch) => {
      const left = batch.runs.filter(({ run }) => {
        const isTaken = asked.delete(run);
        if (isTaken) withdrawn.push(run);
        return !isTaken;
      });
      return left.length === 0 ? [] : [{ ...batch, runs: left }];
    });
    const handed = this.#executors[at.kind].withdraw(slot, [...asked]);
    at.outstanding -= handed.withdrawn.length;
    // What waits for the slot may have lost all it waited for; its turn comes in its own time.
    if (at.outstanding === 0 && at.waiting.length > 0) setImmediate(() => this.#next(slot));
    return { withdrawn: [...withdrawn, ...handed.withdrawn], started: handed.started };
  }

  interrupt(slot: number, run: number, why: Failure): boolean {
    const kind = this.#seceded.get(run) ?? this.#slot(slot).kind;
    return this.#executors[kind].interrupt(slot, run, why);
  }

  async memoryBytes(slot: number, run: number): Promise<number | undefined> {
    return this.#executors[this.#slot(slot).kind].memoryBytes?.(slot, run);
  }

  executing(): readonly number[] {
    return Object.values(this.#executors).flatMap((executor) => executor.executing());
  }

  collect(): void {
    for (const executor of Object.values(this.#executors)) executor.collect?.();
  }

  setEnvironment(changes: Readonly<Record<string, string | null>>): void {
    for (const executor of Object.values(this.#executors)) executor.setEnvironment(changes);
  }

  async close(): Promise<void> {
    for (const at of this.#slots) at.waiting = [];
    await Promise.all(Object.values(this.#executors).map((executor) => executor.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #emptied(
    slot: number,
    failed: { run: number; failure: Failure } | null,
    unstarted: readonly number[],
  ): void {
    const at = this.#slot(slot);
    const waiting = at.waiting.flatMap(({ runs }) => runs.map(({ run }) => run));
    at.waiting = [];
    at.outstanding = 0;
    this.#handlers.emptied(slot, failed, [...unstarted, ...waiting]);
  }

  #count(slot: number, ended: number): void {
    this.#slot(slot).outstanding -= ended;
  }

  /** Hands on what waits, up to the next change of kind. */
  #next(slot: number): void {
    const at = this.#slot(slot);
    for (let batch = at.waiting[0]; batch !== undefined; batch = at.waiting[0]) {
      if (at.outstanding > 0 && at.kind !== batch.kind) return;
      at.waiting.shift();
      this.#hand(slot, at, batch);
    }
  }

  #hand(slot: number, at: RoutedSlot, { kind, fn, runs }: Batch): void {
    at.kind = kind;
    at.outstanding += runs.length;
    this.#executors[kind].execute(slot, fn, runs);
  }

  #slot(slot: number): RoutedSlot {
    const found = this.#slots[slot];
    if (found === undefined) {
      throw new FarmError('ERR_INTERNAL', `slot ${slot} of ${this.#slots.length} does not exist`);
    }
    return found;
  }
}

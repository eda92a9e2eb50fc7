import { FarmError, type Failure } from '@farm/protocol/core';
import type { FunctionSpec } from '@farm/protocol';
import { availableParallelism } from 'node:os';

import { GroupReaper } from '../commands/group-reaper.ts';
import type { Executor, ExecutorRun } from '../executor.ts';
import type { FunctionExecutorOptions } from '../function-executor-options.ts';
import type { TaskCgroups } from '../../task-memory/cgroups/task-cgroups.ts';
import type { ThreadFunction } from '../threads/thread-messages.ts';
import { ProcessSlot, type ProcessSlotOptions } from './process-slot.ts';

/** Options of a {@link ProcessExecutor}. */
export interface ProcessExecutorOptions extends FunctionExecutorOptions {
  /** Limit of each process's JavaScript heap, MiB. @default Node's own */
  readonly heapMegabytes?: number | undefined;
  /** Directory of the processes. @default process.cwd() */
  readonly cwd?: string | undefined;
  /** What they inherit. @default process.env, as it is when a process starts */
  readonly env?: NodeJS.ProcessEnv | undefined;
  /** Control groups for processes, which hold runs that ask for memory. @default none */
  readonly cgroups?: TaskCgroups | undefined;
}

/**
 * Runs functions in child processes, one for each slot, started when first needed and used again.
 * For code that may take its process down with it: faults of native code, `process.abort`, memory
 * beyond the heap. A run costs about a tenth of a millisecond more than in a thread.
 */
export class ProcessExecutor implements Executor {
  readonly #functions = new Map<number, { readonly name: string; readonly spec: ThreadFunction }>();
  readonly #slots: readonly ProcessSlot[];
  readonly #reaper: GroupReaper;
  #isClosed = false;

  constructor(options: ProcessExecutorOptions) {
    const { slots, workerName, handlers, heapMegabytes, prewarm = false, env } = options;
    const { cwd = process.cwd(), scheduler } = options;
    this.#reaper = new GroupReaper((text) => handlers.output(0, 'stderr', `farm: ${text}\n`));
    const functions = this.#functions;
    const lookUp: ProcessSlotOptions['lookUp'] = (fn) => functions.get(fn);
    const shared = {
      workerName,
      handlers,
      scheduler,
      heapMegabytes,
      resultLimit: options.resultLimit,
      cwd,
      env,
      reaper: this.#reaper,
      cgroups: options.cgroups,
      lookUp,
    };
    this.#slots = Array.from(
      { length: slots },
      (_, slot) => new ProcessSlot({ slot, cpus: options.slotCpus?.[slot], ...shared }),
    );
    if (prewarm) {
      for (const slot of this.#slots.slice(0, availableParallelism())) slot.warm();
    }
  }

  define(fn: number, name: string, spec: FunctionSpec): void {
    if (spec.kind === 'command') {
      throw new FarmError('ERR_INTERNAL', `${name} is a command, not a function`);
    }
    this.#functions.set(fn, { name, spec });
  }

  forget(fns: readonly number[]): void {
    for (const fn of fns) this.#functions.delete(fn);
    for (const slot of this.#slots) slot.forget(fns);
  }

  execute(slot: number, fn: number, runs: readonly ExecutorRun[]): void {
    if (this.#isClosed) throw new FarmError('ERR_CLOSED', 'the executor is closed');
    this.#slot(slot).execute(fn, runs);
  }

  withdraw(
    slot: number,
    runs: readonly number[],
  ): { readonly withdrawn: readonly number[]; readonly started: readonly number[] } {
    return this.#slot(slot).withdraw(runs);
  }

  interrupt(slot: number, run: number, why: Failure): boolean {
    return this.#slot(slot).interrupt(run, why);
  }

  async memoryBytes(slot: number, run: number): Promise<number | undefined> {
    return this.#slot(slot).memoryBytes(run);
  }

  executing(): readonly number[] {
    return this.#slots.flatMap((slot) => slot.executing);
  }

  setEnvironment(changes: Readonly<Record<string, string | null>>): void {
    for (const slot of this.#slots) slot.setEnvironment(changes);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all(this.#slots.map((slot) => slot.close()));
    this.#reaper.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #slot(slot: number): ProcessSlot {
    const found = this.#slots[slot];
    if (found === undefined) {
      throw new FarmError('ERR_INTERNAL', `slot ${slot} of ${this.#slots.length} does not exist`);
    }
    return found;
  }
}

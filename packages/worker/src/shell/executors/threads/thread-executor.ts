import { FarmError, type Failure } from '@farm/protocol/core';
import type { FunctionSpec } from '@farm/protocol';
import { availableParallelism } from 'node:os';
import type { ResourceLimits } from 'node:worker_threads';

import type { Executor, ExecutorRun } from '../executor.ts';
import type { FunctionExecutorOptions } from '../function-executor-options.ts';
import type { ThreadFunction } from './thread-messages.ts';
import { ThreadSlot } from './thread-slot.ts';

/**
 * How often busy slots are looked at without being asked. A thread says when it has finished
 * something, but not while a long run follows a short one; so a result waits at most this long.
 */
const LOOK_MS = 10;

/** Options of a {@link ThreadExecutor}. */
export interface ThreadExecutorOptions extends FunctionExecutorOptions {
  /** Memory limits of each thread. @default Node's own */
  readonly resourceLimits?: ResourceLimits | undefined;
  /** Whether large results are to lie in files in memory, which other processes can map. @default false */
  readonly memoryFiles?: boolean;
}

/**
 * Runs functions in worker threads, one for each slot, started when first needed and used again.
 * A thread that is interrupted or dies is replaced; the main thread never executes user code. A
 * fault of native code (a segmentation fault, `process.abort`) still ends the whole process.
 */
export class ThreadExecutor implements Executor {
  readonly #functions = new Map<number, { readonly name: string; readonly spec: ThreadFunction }>();
  readonly #slots: readonly ThreadSlot[];
  #looking: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(options: ThreadExecutorOptions) {
    const { slots, workerName, handlers, scheduler, resourceLimits, prewarm = false } = options;
    this.#slots = Array.from(
      { length: slots },
      (_, slot) =>
        new ThreadSlot({
          slot,
          workerName,
          scheduler,
          cpus: options.slotCpus?.[slot],
          resourceLimits,
          resultLimit: options.resultLimit,
          memoryFiles: options.memoryFiles === true,
          handlers,
          lookUp: (fn) => this.#functions.get(fn),
        }),
    );
    if (prewarm) {
      for (const slot of this.#slots.slice(0, availableParallelism())) slot.warm();
    }
  }

  define(fn: number, name: string, spec: FunctionSpec): void {
    if (spec.kind === 'command') {
      throw new FarmError('ERR_INTERNAL', `${name} is a command: it does not run in a thread`);
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
    this.#looking ??= setTimeout(this.#look, LOOK_MS);
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

  memoryBytes(slot: number, run: number): Promise<number | undefined> {
    return this.#slot(slot).memoryBytes(run);
  }

  executing(): readonly number[] {
    return this.#slots.flatMap((slot) => slot.executing);
  }

  collect(): void {
    for (const slot of this.#slots) slot.collect();
  }

  setEnvironment(changes: Readonly<Record<string, string | null>>): void {
    for (const slot of this.#slots) slot.setEnvironment(changes);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#looking);
    await Promise.all(this.#slots.map((slot) => slot.close()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  readonly #look = (): void => {
    const busy = this.#slots.filter((slot) => slot.isBusy);
    this.#looking = busy.length === 0 ? undefined : setTimeout(this.#look, LOOK_MS);
    for (const slot of busy) slot.look();
  };

  #slot(slot: number): ThreadSlot {
    const found = this.#slots[slot];
    if (found === undefined) {
      throw new FarmError('ERR_INTERNAL', `slot ${slot} of ${this.#slots.length} does not exist`);
    }
    return found;
  }
}

import { decodeError, decodeValue, encodeValue } from '@farm/protocol/value';
import type { CommandFunction } from '@farm/protocol';
import type { Failure } from '@farm/protocol/core';
import type {
  Executor,
  ExecutorHandlers,
  ExecutorRun,
} from '../../src/shell/executors/executor.ts';
import {
  createExecutors,
  type ExecutorsOptions,
} from '../../src/shell/executors/create-executors.ts';

const DEADLINE_MS = 20_000;

/** What `emptied` reported. */
export interface Emptied {
  readonly slot: number;
  readonly failed: { readonly run: number; readonly failure: Failure } | null;
  readonly unstarted: readonly number[];
}

/** An executor with everything it reports, in order and by run. */
export class Harness {
  readonly executor: Executor;
  /** Runs in the order their ends were reported. */
  readonly order: number[] = [];
  readonly results = new Map<number, unknown>();
  readonly durationsUs = new Map<number, number>();
  /** Processor time, of those of which it was measured. */
  readonly cpuUs = new Map<number, number>();
  readonly failures = new Map<number, Failure>();
  readonly emptied: Emptied[] = [];
  /** What withdrawing told later: runs taken back, and runs that had started. */
  readonly withdrawn: number[] = [];
  readonly started: number[] = [];
  /** Runs that gave up their slot. */
  readonly seceded: number[] = [];
  readonly output = { stdout: '', stderr: '' };
  #run = 0;
  #fn = 0;
  readonly #waiters = new Set<() => void>();

  readonly #resources: ExecutorRun['resources'];

  constructor({
    resources = [],
    ...options
  }: Partial<ExecutorsOptions> & { readonly resources?: ExecutorRun['resources'] } = {}) {
    this.#resources = resources;
    const handlers: ExecutorHandlers = {
      ended: (_slot, results) => {
        for (const { run, value, durationUs, cpuUs } of results) {
          if (this.results.has(run)) throw new Error(`run ${run} ended twice`);
          this.results.set(run, decodeValue(value));
          this.durationsUs.set(run, durationUs);
          if (cpuUs !== undefined) this.cpuUs.set(run, cpuUs);
          this.order.push(run);
        }
        this.#changed();
      },
      erred: (_slot, run, why) => {
        this.failures.set(run, why);
        this.order.push(run);
        this.#changed();
      },
      seceded: (_slot, run) => {
        this.seceded.push(run);
        this.#changed();
      },
      emptied: (slot, failed, unstarted) => {
        this.emptied.push({ slot, failed, unstarted });
        if (failed !== null) this.failures.set(failed.run, failed.failure);
        this.#changed();
      },
      withdrawn: (_slot, withdrawn, started) => {
        this.withdrawn.push(...withdrawn);
        this.started.push(...started);
        this.#changed();
      },
      output: (_slot, stream, text) => {
        this.output[stream] += text;
        this.#changed();
      },
    };
    this.executor = createExecutors({ slots: 1, workerName: 'w-1', handlers, ...options });
  }

  /** Defines a function by its source, as a client would send it. */
  source(task: (...args: never[]) => unknown, name: string = task.name || 'task'): number {
    return this.define(name, { kind: 'source', name, source: task.toString() });
  }

  command(fields: Partial<CommandFunction>): number {
    return this.define('command', aCommand(fields));
  }

  define(name: string, spec: Parameters<Executor['define']>[2]): number {
    this.executor.define(++this.#fn, name, spec);
    return this.#fn;
  }

  aRun(args: readonly unknown[] = [], fields: Partial<ExecutorRun> = {}): ExecutorRun {
    const run = ++this.#run;
    return {
      run,
      key: `task-${run}`,
      attempt: 1,
      args: encodeValue(args).bytes,
      inputs: [],
      timeoutMs: null,
      resources: this.#resources,
      ...fields,
    };
  }

  /** Gives one run to a slot. */
  start(
    fn: number,
    args: readonly unknown[] = [],
    fields: Partial<ExecutorRun> & { readonly slot?: number } = {},
  ): number {
    const { slot = 0, ...rest } = fields;
    const run = this.aRun(args, rest);
    this.executor.execute(slot, fn, [run]);
    return run.run;
  }

  /** Gives one run to a slot and waits for its result. */
  async call(fn: number, ...args: unknown[]): Promise<unknown> {
    const run = this.start(fn, args);
    await this.end(run);
    const failure = this.failures.get(run);
    if (failure !== undefined) throw new Error(`${failure.code}: ${failure.message}`);
    return this.results.get(run);
  }

  /** Gives one run to a slot and waits for its failure. */
  failure(fn: number, ...args: unknown[]): Promise<Failure> {
    return this.failureOf(this.start(fn, args));
  }

  async failureOf(run: number): Promise<Failure> {
    await this.end(run);
    const failure = this.failures.get(run);
    if (failure === undefined) throw new Error(`run ${run} did not fail`);
    return failure;
  }

  async end(run: number): Promise<void> {
    await this.until(() => this.results.has(run) || this.failures.has(run), `run ${run} to end`);
  }

  async executing(run: number): Promise<void> {
    await this.until(() => this.executor.executing().includes(run), `run ${run} to start`);
  }

  /** Waits for a condition; looked at after every report and every few milliseconds. */
  async until(condition: () => boolean, what: string): Promise<void> {
    if (condition()) return;
    await new Promise<void>((resolve, reject) => {
      const finish = (act: () => void): void => {
        this.#waiters.delete(look);
        clearTimeout(deadline);
        clearInterval(polling);
        act();
      };
      const look = (): void => {
        if (condition()) finish(resolve);
      };
      const deadline = setTimeout(
        () => finish(() => reject(new Error(`waited in vain for ${what}`))),
        DEADLINE_MS,
      );
      const polling = setInterval(look, 5);
      this.#waiters.add(look);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.executor.close();
  }

  #changed(): void {
    for (const look of this.#waiters) look();
  }
}

/** A command that captures its output, with these fields. */
export function aCommand(fields: Partial<CommandFunction>): CommandFunction {
  return {
    kind: 'command',
    name: 'command',
    file: '/bin/sh',
    args: [],
    cwd: null,
    env: [],
    stdin: null,
    stdout: { to: 'capture' },
    stderr: { to: 'capture' },
    acceptExitCodes: [0],
    captureBytesMax: 1_000_000,
    ...fields,
  };
}

/** What user code threw, as the client sees it. */
export function thrown(failure: Failure): Error {
  if (failure.error === null) throw new Error(`no error travelled: ${failure.message}`);
  return decodeError(failure.error);
}

/** Why a test interrupts a run. */
export function cancelled(key = 'task'): Failure {
  const code = 'ERR_CANCELLED';
  return { code, message: 'cancelled', origin: key, worker: 'w-1', error: null, name: null };
}

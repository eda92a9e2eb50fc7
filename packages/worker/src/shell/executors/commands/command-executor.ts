import type { CommandFunction, CommandResult, CommandStage, FunctionSpec } from '@farm/protocol';
import { type ErrorCode, FarmError, type Failure, failure } from '@farm/protocol/core';
import { decodeValue, encodeError, encodeValue, errorText } from '@farm/protocol/value';
import { hostname } from 'node:os';

import type { TaskCgroup } from '../../task-memory/cgroups/task-cgroup.ts';
import type { TaskCgroups } from '../../task-memory/cgroups/task-cgroups.ts';
import { memoryExceeded } from '../../task-memory/memory-exceeded.ts';
import {
  type Executor,
  type ExecutorHandlers,
  type ExecutorRun,
  memoryAskedFor,
} from '../executor.ts';
import { environmentChanged } from './command-environment.ts';
import { CommandError } from './command-error.ts';
import { commandLine } from './command-line.ts';
import type { CommandSite } from './command-site.ts';
import { CommandStarter } from './command-starter.ts';
import type { RunningCommand } from './running-command.ts';
import { StagedDirectory, type StagingPlaces, stagingPlaces } from './staging/staged-directory.ts';
import { stagePlan } from './staging/stage-plan.ts';

const TIMER_MS_MAX = 2 ** 31 - 1;

/** Options of a {@link CommandExecutor}. */
export interface CommandExecutorOptions {
  readonly slots: number;
  /** Name of this worker, for failures and for FARM_WORKER. */
  readonly workerName: string;
  readonly handlers: ExecutorHandlers;
  /** Where relative directories of commands begin. @default process.cwd() at construction */
  readonly cwd?: string;
  /** What commands inherit. @default process.env, as it is when a command starts */
  readonly env?: NodeJS.ProcessEnv;
  /**
   * Who starts commands: a spawner where there can be one, or always Node.
   * @default 'auto'
   */
  readonly commandSpawner?: 'auto' | 'node';
  /** CPUs that each slot is bound to, as `taskset` takes them. @default all for all */
  readonly slotCpus?: readonly string[] | undefined;
  /** What the worker's site adds to commands. @default nothing */
  readonly commandSite?: CommandSite;
  /** Control groups for commands that ask for memory. @default none */
  readonly cgroups?: TaskCgroups | undefined;
}

interface Active {
  readonly run: ExecutorRun;
  process: RunningCommand | undefined;
  /** Why it was interrupted, if it was. */
  stopped: Failure | undefined;
  /** Ends what copies its files, where there are any. */
  abort: AbortController | undefined;
}

interface CommandSlot {
  active: Active | undefined;
  waiting: { readonly fn: number; readonly run: ExecutorRun }[];
}

/** How a run ended: with an encoded result or not. */
type Outcome =
  | { readonly value: Uint8Array }
  | { readonly failure: Failure; readonly isTerminated?: boolean };

/**
 * Runs commands, one at a time in each slot, each in a process group of its own, without a shell.
 *
 * A command finds `FARM_KEY`, `FARM_ATTEMPT` and `FARM_WORKER` in its environment, and what it is
 * granted as `FARM_RESOURCE_<NAME>`. An interrupted command gets SIGTERM and after 2 s SIGKILL, with
 * everything in its group; the slot is free when all of it is gone. What a command leaves running
 * in the background when it ends by itself is left alone.
 */
export class CommandExecutor implements Executor {
  readonly #options: CommandExecutorOptions;
  readonly #cwd: string;
  readonly #functions = new Map<number, CommandFunction>();
  readonly #slots: readonly CommandSlot[];
  readonly #starter: CommandStarter;
  readonly #places: StagingPlaces;
  readonly #running = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: CommandExecutorOptions) {
    this.#options = options;
    this.#cwd = options.cwd ?? process.cwd();
    this.#slots = Array.from({ length: options.slots }, () => ({
      active: undefined,
      waiting: [],
    }));
    this.#places = stagingPlaces(options.commandSite?.directory);
    this.#starter = new CommandStarter({
      slots: options.slots,
      workerName: options.workerName,
      cwd: this.#cwd,
      site: options.commandSite ?? {},
      env: options.env,
      commandSpawner: options.commandSpawner ?? 'auto',
      slotCpus: options.slotCpus,
      warn: (text) => options.handlers.output(0, 'stderr', `farm: ${text}\n`),
    });
  }

  define(fn: number, name: string, spec: FunctionSpec): void {
    if (spec.kind !== 'command') {
      throw new FarmError('ERR_INTERNAL', `${name} is not a command`);
    }
    this.#functions.set(fn, spec);
  }

  forget(fns: readonly number[]): void {
    for (const fn of fns) this.#functions.delete(fn);
  }

  execute(slot: number, fn: number, runs: readonly ExecutorRun[]): void {
    if (this.#isClosed) throw new FarmError('ERR_CLOSED', 'the executor is closed');
    const at = this.#slot(slot);
    for (const run of runs) at.waiting.push({ fn, run });
    this.#next(slot, at);
  }

  withdraw(
    slot: number,
    runs: readonly number[],
  ): { readonly withdrawn: readonly number[]; readonly started: readonly number[] } {
    const at = this.#slot(slot);
    const asked = new Set(runs);
    const taken = at.waiting.filter(({ run }) => asked.has(run.run)).map(({ run }) => run.run);
    at.waiting = at.waiting.filter(({ run }) => !asked.has(run.run));
    for (const run of taken) asked.delete(run);
    return { withdrawn: taken, started: [...asked] };
  }

  interrupt(slot: number, run: number, why: Failure): boolean {
    const { active } = this.#slot(slot);
    if (active === undefined || active.run.run !== run) return false;
    active.stopped ??= why;
    stop(active);
    return true;
  }

  executing(): readonly number[] {
    return this.#slots.flatMap(({ active }) => active?.run.run ?? []);
  }

  /** Commands inherit the worker's own environment, which has these changes. */
  setEnvironment(): void {
    environmentChanged();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const slot of this.#slots) {
      slot.waiting = [];
      if (slot.active !== undefined) stop(slot.active);
    }
    await Promise.all(this.#running);
    await this.#starter.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #next(slot: number, at: CommandSlot): void {
    if (at.active !== undefined || this.#isClosed) return;
    const next = at.waiting.shift();
    if (next === undefined) return;
    const active: Active = {
      run: next.run,
      process: undefined,
      stopped: undefined,
      abort: undefined,
    };
    at.active = active;
    const running = this.#runOne(slot, at, active, this.#functions.get(next.fn)).finally(() => {
      this.#running.delete(running);
    });
    this.#running.add(running);
  }

  async #runOne(
    slot: number,
    at: CommandSlot,
    active: Active,
    spec: CommandFunction | undefined,
  ): Promise<void> {
    // Runs given together are all in the list, and `execute` is over, before anything is reported.
    await Promise.resolve();
    const startedMs = performance.now();
    const outcome = await this.#outcome(slot, active, spec);
    const durationUs = (performance.now() - startedMs) * 1000;
    at.active = undefined;
    if (this.#isClosed) return;
    const { handlers } = this.#options;
    const { run } = active.run;
    if (active.stopped !== undefined) {
      const unstarted = at.waiting.map((waiting) => waiting.run.run);
      at.waiting = [];
      handlers.emptied(slot, { run, failure: active.stopped }, unstarted);
      return;
    }
    if ('value' in outcome) handlers.ended(slot, [{ run, value: outcome.value, durationUs }]);
    else handlers.erred(slot, run, outcome.failure, durationUs, outcome.isTerminated);
    this.#next(slot, at);
  }

  async #outcome(
    slot: number,
    active: Active,
    spec: CommandFunction | undefined,
  ): Promise<Outcome> {
    const { key } = active.run;
    const fail = (code: ErrorCode, message: string, error: Uint8Array | null): Outcome => ({
      failure: failure(code, message, key, this.#options.workerName, error),
    });
    let timer: NodeJS.Timeout | undefined;
    try {
      if (spec === undefined) throw new FarmError('ERR_FUNCTION', 'the command is not known');
      const watch = (): void => {
        timer ??= this.#watchTime(slot, active.run);
      };
      const result =
        spec.stage === undefined
          ? await this.#run(slot, active, spec, undefined, watch)
          : await this.#runStaged(slot, active, spec, spec.stage, watch);
      return { value: encodeValue(result, { what: 'the result' }).bytes };
    } catch (error) {
      if (error instanceof CommandError) {
        const isTerminated = error.signal === 'SIGTERM';
        return { ...fail('ERR_COMMAND', errorText(error), encodeError(error)), isTerminated };
      }
      if (error instanceof FarmError) return fail(error.code, `${key}: ${error.message}`, null);
      return fail('ERR_INTERNAL', errorText(error), encodeError(error));
    } finally {
      clearTimeout(timer);
    }
  }

  /** @throws CommandError where it does not end well */
  async #run(
    slot: number,
    active: Active,
    spec: CommandFunction,
    directory: string | undefined,
    onStart: () => void,
  ): Promise<CommandResult> {
    const { run } = active;
    const prefix = this.#options.commandSite?.prefix;
    const line = commandLine(spec, argumentsOf(run), directory ?? this.#cwd, prefix);
    const result = await this.#held(active, async (cgroup) => {
      const starting = { directory, cgroup: cgroup?.entry };
      const command = await this.#starter.prepare(slot, line, run, spec, starting);
      active.process = command;
      if (active.stopped !== undefined || this.#isClosed) command.stop();
      return command.run(onStart);
    });
    const isSuccess = result.exitCode !== null && spec.acceptExitCodes.includes(result.exitCode);
    if (isSuccess || active.stopped !== undefined) return result;
    throw new CommandError(line, result);
  }

  /** Runs it in a control group where it asks for memory: what the kernel kills there is stopped. */
  async #held<Result>(
    active: Active,
    run: (cgroup: TaskCgroup | undefined) => Promise<Result>,
  ): Promise<Result> {
    const { cgroups, workerName } = this.#options;
    const { run: id, key, resources } = active.run;
    const limitBytes = memoryAskedFor(resources);
    if (limitBytes === undefined || cgroups === undefined) return run(undefined);
    const cgroup = cgroups.begin(id, limitBytes);
    try {
      const result = await run(cgroup);
      if (cgroup?.wasExceeded === true) {
        const peakBytes = cgroup.chargedBytesMax;
        active.stopped ??= memoryExceeded({ key, workerName, limitBytes, peakBytes });
        // Whatever it did then, it did without what was killed.
        stop(active);
        cgroup.kill();
      }
      return result;
    } finally {
      cgroups.ended(id);
    }
  }

  /** Runs it in a directory of its own. */
  async #runStaged(
    slot: number,
    active: Active,
    spec: CommandFunction,
    stage: CommandStage,
    onStart: () => void,
  ): Promise<CommandResult> {
    const { key, attempt } = active.run;
    const { workerName } = this.#options;
    const at = { key, attempt, workerName };
    const plan = stagePlan(spec.name, stage, argumentsOf(active.run), this.#cwd, at);
    // To bring files may take long, too.
    onStart();
    active.abort = new AbortController();
    const { signal } = active.abort;
    if (active.stopped !== undefined || this.#isClosed) active.abort.abort(stoppedError());
    const directory = await StagedDirectory.make(plan, at, this.#places, signal);
    let outputs: readonly string[];
    let result: CommandResult;
    try {
      result = await this.#run(slot, active, spec, directory.path, onStart);
      signal.throwIfAborted();
      outputs = await directory.take();
    } catch (error) {
      const kept = await directory.end(false);
      if (kept !== undefined && error instanceof Error) {
        error.message += `; its directory is kept: ${hostname()}:${kept}`;
      }
      throw error;
    }
    const kept = await directory.end(true);
    return { ...result, outputs, ...(kept === undefined ? {} : { directory: kept }) };
  }

  #watchTime(slot: number, { run, key, timeoutMs }: ExecutorRun): NodeJS.Timeout | undefined {
    if (timeoutMs === null) return undefined;
    return setTimeout(
      () => {
        const message = `${key}: ran longer than timeoutMs = ${timeoutMs}`;
        const { workerName } = this.#options;
        this.interrupt(slot, run, failure('ERR_TASK_TIMEOUT', message, key, workerName, null));
      },
      Math.min(timeoutMs, TIMER_MS_MAX),
    );
  }

  #slot(slot: number): CommandSlot {
    const found = this.#slots[slot];
    if (found === undefined) {
      throw new FarmError('ERR_INTERNAL', `slot ${slot} of ${this.#slots.length} does not exist`);
    }
    return found;
  }
}

function stop(active: Active): void {
  active.process?.stop();
  active.abort?.abort(stoppedError());
}

function stoppedError(): FarmError {
  return new FarmError('ERR_CANCELLED', 'stopped');
}

function argumentsOf({ args, inputs }: ExecutorRun): readonly unknown[] {
  const values = inputs.map((input) => decodeValue(input));
  const decoded = decodeValue(args, values);
  return Array.isArray(decoded) ? decoded : [];
}

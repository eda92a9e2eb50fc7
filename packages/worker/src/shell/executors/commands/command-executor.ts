import type { CommandFunction, CommandResult, CommandStage, FunctionSpec } from '@farm/protocol';
import { FarmError, type Failure, failure } from '@farm/protocol/core';

import type { TaskCgroups } from '../../task-memory/cgroups/task-cgroups.ts';
import {
  type Executor,
  type ExecutorHandlers,
  type ExecutorRun,
  memoryAskedFor,
} from '../executor.ts';
import { commandArguments } from './command-arguments.ts';
import { commandLine } from './command-line.ts';
import { accepted, failedOutcome, type Outcome, valueOutcome } from './command-outcome.ts';
import type { CommandSite } from './command-site.ts';
import {
  type CommandSlot,
  type GivenCommand,
  stop,
  stoppedError,
  takesAnother,
} from './command-slot.ts';
import { CommandStarter } from './command-starter.ts';
import { runInCgroup } from './run-in-cgroup.ts';
import type { SpawnedCommand } from './spawned-command.ts';
import { runStaged } from './staging/run-staged.ts';
import { stagePlan } from './staging/stage-plan.ts';
import { type StagingPlaces, stagingPlaces } from './staging/staged-directory.ts';

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
  readonly #allGone = Promise.withResolvers<void>();
  #isClosed = false;

  constructor(options: CommandExecutorOptions) {
    this.#options = options;
    this.#cwd = options.cwd ?? process.cwd();
    this.#slots = Array.from({ length: options.slots }, () => ({
      given: [],
      waiting: [],
      heardMs: 0,
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
    // Whether those behind the first have begun their spawner knows.
    for (const given of at.given.slice(1)) {
      if (given.queued === undefined || !asked.delete(given.run.run)) continue;
      given.isAsked = true;
      given.queued.takeBack();
    }
    return { withdrawn: taken, started: [...asked] };
  }

  interrupt(slot: number, run: number, why: Failure): boolean {
    const given = this.#slot(slot).given.find((one) => one.run.run === run);
    if (given === undefined) return false;
    given.stopped ??= why;
    stop(given);
    return true;
  }

  executing(): readonly number[] {
    return this.#slots.flatMap(({ given: [first] }) => first?.run.run ?? []);
  }

  /** Commands inherit the worker's own environment, which has these changes. */
  setEnvironment(): void {
    this.#starter.environmentChanged();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const at of this.#slots) {
      at.waiting = [];
      for (const given of at.given) stop(given);
    }
    this.#settleClosed();
    await this.#allGone.promise;
    await this.#starter.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Begins what waits, as far as it can; what a spawner takes ahead need not wait for an end. */
  #next(slot: number, at: CommandSlot): void {
    while (!this.#isClosed) {
      const [next] = at.waiting;
      if (next === undefined || !takesAnother(at)) return;
      const spec = this.#functions.get(next.fn);
      const queued = spec === undefined ? undefined : this.#queueable(slot, spec, next.run);
      if (queued === undefined && at.given.length > 0) return;
      at.waiting.shift();
      const given: GivenCommand = {
        ...next,
        sinceMs: performance.now(),
        queued,
        process: queued,
        stopped: undefined,
        abort: undefined,
        isAsked: false,
      };
      at.given.push(given);
      if (spec !== undefined && queued !== undefined) this.#queue(slot, at, given, spec, queued);
      else void this.#runAlone(slot, at, given, spec);
    }
  }

  /** A run's command, where it can be given to a spawner at once and be followed by others. */
  #queueable(slot: number, spec: CommandFunction, run: ExecutorRun): SpawnedCommand | undefined {
    if (spec.stage !== undefined || spec.stdin !== null || run.timeoutMs !== null) return undefined;
    if (memoryAskedFor(run.resources) !== undefined) return undefined;
    try {
      const prefix = this.#options.commandSite?.prefix;
      const line = commandLine(spec, commandArguments(run), this.#cwd, prefix);
      return this.#starter.queueable(slot, line, run, spec);
    } catch {
      // What is wrong with it is told in its turn.
      return undefined;
    }
  }

  #queue(
    slot: number,
    at: CommandSlot,
    given: GivenCommand,
    spec: CommandFunction,
    command: SpawnedCommand,
  ): void {
    const { run, key } = given.run;
    command.start({
      ended: (result) => {
        const outcome = this.#outcome(key, () => accepted(spec, command.line, result));
        this.#end(slot, at, given, outcome, result.durationMs);
      },
      failed: (error) => {
        this.#end(slot, at, given, failedOutcome(error, key, this.#options.workerName));
      },
      takenBack: () => this.#takenBack(slot, at, given),
      kept: () => {
        if (!given.isAsked) return;
        given.isAsked = false;
        this.#options.handlers.withdrawn(slot, [], [run]);
      },
    });
  }

  /** A spawner gives back what it has not begun. */
  #takenBack(slot: number, at: CommandSlot, given: GivenCommand): void {
    this.#leave(at, given);
    if (this.#isClosed) return;
    const { handlers } = this.#options;
    const { fn, run } = given;
    if (given.isAsked) handlers.withdrawn(slot, [run.run], []);
    else if (given.stopped !== undefined) handlers.erred(slot, run.run, given.stopped, 0);
    else at.waiting.unshift({ fn, run });
    this.#next(slot, at);
  }

  async #runAlone(
    slot: number,
    at: CommandSlot,
    given: GivenCommand,
    spec: CommandFunction | undefined,
  ): Promise<void> {
    // Runs given together are all in the list, and `execute` is over, before anything is reported.
    await Promise.resolve();
    const { run } = given;
    let timer: NodeJS.Timeout | undefined;
    const watch = (): void => {
      timer ??= this.#watchTime(slot, run);
    };
    let outcome: Outcome;
    try {
      if (spec === undefined) throw new FarmError('ERR_FUNCTION', 'the command is not known');
      const result =
        spec.stage === undefined
          ? await this.#run(slot, given, spec, undefined, watch)
          : await this.#runStaged(slot, given, spec, spec.stage, watch);
      outcome = this.#outcome(run.key, () => result);
    } catch (error) {
      outcome = failedOutcome(error, run.key, this.#options.workerName);
    }
    clearTimeout(timer);
    this.#end(slot, at, given, outcome);
  }

  #outcome(key: string, result: () => CommandResult): Outcome {
    try {
      return valueOutcome(result());
    } catch (error) {
      return failedOutcome(error, key, this.#options.workerName);
    }
  }

  /** @param durationMs - @default since it was given, or since the end of the one before it */
  #end(
    slot: number,
    at: CommandSlot,
    given: GivenCommand,
    outcome: Outcome,
    durationMs?: number,
  ): void {
    const nowMs = performance.now();
    const durationUs = (durationMs ?? nowMs - Math.max(given.sinceMs, at.heardMs)) * 1000;
    at.heardMs = nowMs;
    this.#leave(at, given);
    if (this.#isClosed) return;
    const { handlers } = this.#options;
    const { run } = given.run;
    if (given.stopped !== undefined && at.given.length === 0) {
      const unstarted = at.waiting.map((waiting) => waiting.run.run);
      at.waiting = [];
      handlers.emptied(slot, { run, failure: given.stopped }, unstarted);
      return;
    }
    // What was stopped while others have begun behind it had ended before.
    if ('value' in outcome) handlers.ended(slot, [{ run, value: outcome.value, durationUs }]);
    else {
      const why = given.stopped ?? outcome.failure;
      handlers.erred(slot, run, why, durationUs, outcome.isTerminated);
    }
    this.#next(slot, at);
  }

  #leave(at: CommandSlot, given: GivenCommand): void {
    at.given.splice(at.given.indexOf(given), 1);
    if (this.#isClosed) this.#settleClosed();
  }

  #settleClosed(): void {
    if (this.#slots.every(({ given }) => given.length === 0)) this.#allGone.resolve();
  }

  /** @throws CommandError where it does not end well */
  async #run(
    slot: number,
    given: GivenCommand,
    spec: CommandFunction,
    directory: string | undefined,
    onStart: () => void,
  ): Promise<CommandResult> {
    const { run } = given;
    const prefix = this.#options.commandSite?.prefix;
    const line = commandLine(spec, commandArguments(run), directory ?? this.#cwd, prefix);
    const { cgroups, workerName } = this.#options;
    const exceeded = (why: Failure): void => {
      given.stopped ??= why;
      stop(given);
    };
    const result = await runInCgroup(run, { cgroups, workerName, exceeded }, async (cgroup) => {
      const starting = { directory, cgroup: cgroup?.entry };
      const command = await this.#starter.prepare(slot, line, run, spec, starting);
      given.process = command;
      if (given.stopped !== undefined || this.#isClosed) command.stop();
      return command.run(onStart);
    });
    return accepted(spec, line, result);
  }

  /** Runs it in a directory of its own. */
  async #runStaged(
    slot: number,
    given: GivenCommand,
    spec: CommandFunction,
    stage: CommandStage,
    onStart: () => void,
  ): Promise<CommandResult> {
    const { key, attempt } = given.run;
    const { workerName } = this.#options;
    const at = { key, attempt, workerName };
    const plan = stagePlan(spec.name, stage, commandArguments(given.run), this.#cwd, at);
    // To bring files may take long, too.
    onStart();
    given.abort = new AbortController();
    const { signal } = given.abort;
    if (given.stopped !== undefined || this.#isClosed) given.abort.abort(stoppedError());
    const staged = { plan, attempt: at, places: this.#places, signal };
    return runStaged(staged, (directory) => this.#run(slot, given, spec, directory, onStart));
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

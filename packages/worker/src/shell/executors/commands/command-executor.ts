import type { CommandFunction, FunctionSpec } from '@farm/protocol';
import { type ErrorCode, FarmError, type Failure, failure } from '@farm/protocol/core';
import { decodeValue, encodeError, encodeValue, errorText } from '@farm/protocol/value';

import type { Executor, ExecutorHandlers, ExecutorRun } from '../executor.ts';
import { CommandError } from './command-error.ts';
import { type CommandLine, commandLine } from './command-line.ts';
import { InheritedEnvironment, taskEnvironment } from './command-environment.ts';
import { CommandProcess } from './command-process.ts';
import { GroupReaper } from './group-reaper.ts';
import type { RunningCommand } from './running-command.ts';
import { isSpawnable, SpawnedCommand } from './spawned-command.ts';
import { SpawnerPool } from './spawner/spawner-pool.ts';

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
}

interface Active {
  readonly run: ExecutorRun;
  process: RunningCommand | undefined;
  /** Why it was interrupted, if it was. */
  stopped: Failure | undefined;
}

interface CommandSlot {
  active: Active | undefined;
  waiting: { readonly fn: number; readonly run: ExecutorRun }[];
}

/** How a run ended: with an encoded result or not. */
type Outcome = { readonly value: Uint8Array } | { readonly failure: Failure };

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
  readonly #inherited: InheritedEnvironment;
  readonly #reaper: GroupReaper;
  readonly #spawners: SpawnerPool | undefined;
  readonly #running = new Set<Promise<void>>();
  #isClosed = false;

  constructor(options: CommandExecutorOptions) {
    this.#options = options;
    this.#cwd = options.cwd ?? process.cwd();
    this.#slots = Array.from({ length: options.slots }, () => ({
      active: undefined,
      waiting: [],
    }));
    this.#inherited = new InheritedEnvironment(options.env ?? process.env);
    this.#spawners =
      options.commandSpawner === 'node' ? undefined : new SpawnerPool({ slots: options.slots });
    this.#reaper = new GroupReaper((text) => {
      options.handlers.output(0, 'stderr', `farm: ${text}\n`);
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
    active.process?.stop();
    return true;
  }

  executing(): readonly number[] {
    return this.#slots.flatMap(({ active }) => active?.run.run ?? []);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const slot of this.#slots) {
      slot.waiting = [];
      slot.active?.process?.stop();
    }
    await Promise.all(this.#running);
    this.#reaper.close();
    await this.#spawners?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #next(slot: number, at: CommandSlot): void {
    if (at.active !== undefined || this.#isClosed) return;
    const next = at.waiting.shift();
    if (next === undefined) return;
    const active: Active = { run: next.run, process: undefined, stopped: undefined };
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
    else handlers.erred(slot, run, outcome.failure, durationUs);
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
      const line = this.#line(spec, active.run);
      const command = await this.#command(slot, line, active.run, spec.captureBytesMax);
      active.process = command;
      if (active.stopped !== undefined || this.#isClosed) command.stop();
      const result = await command.run(() => {
        timer = this.#watchTime(slot, active.run);
      });
      const isSuccess = result.exitCode !== null && spec.acceptExitCodes.includes(result.exitCode);
      if (isSuccess) return { value: encodeValue(result, { what: 'the result' }).bytes };
      const error = new CommandError(line, result);
      return fail('ERR_COMMAND', errorText(error), encodeError(error));
    } catch (error) {
      if (error instanceof FarmError) return fail(error.code, `${key}: ${error.message}`, null);
      return fail('ERR_INTERNAL', errorText(error), encodeError(error));
    } finally {
      clearTimeout(timer);
    }
  }

  #line(spec: CommandFunction, { args, inputs }: ExecutorRun): CommandLine {
    const decoded = decodeValue(
      args,
      inputs.map((input) => decodeValue(input)),
    );
    return commandLine(spec, Array.isArray(decoded) ? decoded : [], this.#cwd);
  }

  /** A command that is ready to run, by a spawner where that is possible. */
  async #command(
    slot: number,
    line: CommandLine,
    run: ExecutorRun,
    captureBytesMax: number,
  ): Promise<RunningCommand> {
    const env = taskEnvironment(run, this.#options.workerName, line.env);
    const found = isSpawnable(line, env) ? this.#spawners?.get(slot) : undefined;
    const spawner = found instanceof Promise ? await found : found;
    if (spawner !== undefined) {
      return new SpawnedCommand(line, {
        spawner,
        inherited: this.#inherited.texts(),
        env,
        captureBytesMax,
      });
    }
    const all = { ...(this.#options.env ?? process.env), ...Object.fromEntries(env) };
    return new CommandProcess(line, { env: all, captureBytesMax, reaper: this.#reaper });
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

import type { CommandResult } from '@farm/protocol';
import type { FarmError } from '@farm/protocol/core';

import type { Variables } from './command-environment.ts';
import type { CommandLine, OutputTarget } from './command-line.ts';
import type { OutputSink, RunningCommand } from './running-command.ts';
import { outputError, spawnError } from './spawn-error.ts';
import type { SpawnFailure, Spawner } from './spawner/spawner.ts';

/** What a {@link SpawnedCommand} needs besides its command line. */
export interface SpawnedCommandOptions {
  readonly spawner: Spawner;
  /** What begins only when those before it in the same lane have ended. */
  readonly lane: number;
  /** What every command inherits, as `NAME=value`. */
  readonly inherited: readonly string[];
  /** Variables on top of it. */
  readonly env: Variables;
  readonly captureBytesMax: number;
  /** For output that is streamed. */
  readonly sink: OutputSink | undefined;
  /** Where it enters its control group. @default none */
  readonly cgroup?: string | undefined;
}

/** What becomes of a command; exactly one of `ended`, `failed` and `takenBack` is called, once. */
export interface SpawnedHandlers {
  readonly ended: (result: CommandResult) => void;
  /** With a FarmError: it could not be started, or what it ran in was lost. */
  readonly failed: (error: unknown) => void;
  /** It has not begun and will not. */
  readonly takenBack: () => void;
  /** It was asked back, and has begun. */
  readonly kept: () => void;
}

/** Whether a spawner can start this command; one with text for its standard input it cannot. */
export function isSpawnable({ file, args, cwd, stdin }: CommandLine, env: Variables): boolean {
  if (stdin !== null || file === '') return false;
  if (hasNul(file) || hasNul(cwd) || args.some(hasNul)) return false;
  return !env.some(([, value]) => hasNul(value));
}

/** One command that a spawner starts and ends. */
export class SpawnedCommand implements RunningCommand {
  readonly #line: CommandLine;
  readonly #options: SpawnedCommandOptions;
  #id: number | undefined;
  #isStopping = false;

  constructor(line: CommandLine, options: SpawnedCommandOptions) {
    this.#line = line;
    this.#options = options;
  }

  get line(): CommandLine {
    return this.#line;
  }

  /** Whether another command can be given to its lane, and begins right after it. */
  get takesAnother(): boolean {
    return this.#options.spawner.isAlive && !this.#isStopping;
  }

  run(onStart: () => void): Promise<CommandResult> {
    return new Promise((resolve, reject) => {
      const none = { exitCode: null, signal: null, stdout: '', stderr: '', durationMs: 0 };
      if (this.#isStopping) {
        resolve(none);
        return;
      }
      const takenBack = (): void => resolve(none);
      this.start({ ended: resolve, failed: reject, takenBack, kept: () => {} });
      onStart();
    });
  }

  /** Starts it once those before it in its lane have ended. */
  start(handlers: SpawnedHandlers): void {
    const { file, args, cwd, stdout, stderr } = this.#line;
    const { spawner, lane, inherited, env, captureBytesMax, sink, cgroup } = this.#options;
    const isSame = stdout.to === 'file' && stderr.to === 'file' && stdout.path === stderr.path;
    const request = {
      lane,
      cwd,
      argv: [file, ...args],
      inherited,
      env: env.map(([name, value]) => `${name}=${value}`),
      stdout: target(stdout),
      stderr: isSame ? '=' : target(stderr),
      captureBytesMax,
      cgroup,
    };
    this.#id = spawner.run(request, {
      output: (stream, chunk) => {
        if (sink?.write(stream, chunk) === false) spawner.pauseUntil(sink.drained());
      },
      ended: ({ exitCode, signal, stdout, stderr, durationMs }) => {
        const result = { exitCode, signal, stdout, stderr, durationMs };
        if (sink === undefined) handlers.ended(result);
        else sink.finish().then(() => handlers.ended(result), handlers.failed);
      },
      failed: (failure) => {
        this.#startError(failure).then(handlers.failed, handlers.failed);
      },
      takenBack: handlers.takenBack,
      kept: handlers.kept,
      lost: handlers.failed,
    });
  }

  /** Asks for it back; it is `takenBack` or `kept`. */
  takeBack(): void {
    if (this.#id !== undefined) this.#options.spawner.takeBack(this.#id);
  }

  stop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    if (this.#id !== undefined) this.#options.spawner.stop(this.#id);
  }

  async #startError({ what, code, reason }: SpawnFailure): Promise<FarmError> {
    const cause = Object.assign(new Error(`${reason} (${code})`), { code });
    if (what === 'stdout' || what === 'stderr') {
      const to = this.#line[what];
      return outputError(this.#line, what, to.to === 'file' ? to.path : '', cause);
    }
    return spawnError(this.#line, cause);
  }
}

function hasNul(text: string): boolean {
  return text.includes('\0');
}

function target(to: OutputTarget): string {
  if (to.to === 'capture') return 'c';
  if (to.to === 'ignore') return 'i';
  if (to.to === 'stream') return 's';
  return `${to.append ? 'a' : 'w'}${to.path}`;
}

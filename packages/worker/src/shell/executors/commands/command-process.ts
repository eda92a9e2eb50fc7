import type { CommandResult } from '@farm/protocol';
import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { type FileHandle, open } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';

import { CapturedOutput } from './captured-output.ts';
import type { CommandLine, OutputTarget } from './command-line.ts';
import type { GroupReaper } from './group-reaper.ts';
import { groupExists, signalGroup } from './process-group.ts';
import type { OutputSink, RunningCommand } from './running-command.ts';
import { outputError, spawnError } from './spawn-error.ts';

/** Time between asking a command to end and killing it. */
export const KILL_AFTER_MS = 2_000;
/** How long output may stay silent after the exit before the pipes are given up. */
const SILENT_MS = 100;
/** How long output is read after the exit at all. */
const LINGER_MS = 2_000;
const GROUP_LOOK_MS = 20;
/** How long a killed process group may take to be gone. */
const GONE_MS = 500;

interface Exit {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

/** What a {@link CommandProcess} needs besides its command line. */
export interface CommandProcessOptions {
  readonly env: NodeJS.ProcessEnv;
  readonly captureBytesMax: number;
  readonly reaper: GroupReaper;
  /** For output that is streamed. */
  readonly sink: OutputSink | undefined;
}

/** One command that the worker itself starts and ends. */
export class CommandProcess implements RunningCommand {
  readonly #line: CommandLine;
  readonly #options: CommandProcessOptions;
  #child: ChildProcess | undefined;
  #isStopping = false;
  #hasExited = false;
  #killing: NodeJS.Timeout | undefined;

  constructor(line: CommandLine, options: CommandProcessOptions) {
    this.#line = line;
    this.#options = options;
  }

  async run(onStart: () => void): Promise<CommandResult> {
    const files: FileHandle[] = [];
    const startedMs = performance.now();
    try {
      const [stdout, stderr] = await this.#openOutputs(files);
      // Stopped while its files were opened: there is nothing to be ended.
      if (this.#isStopping) return notStarted();
      const child = await this.#spawn(stdout, stderr);
      const captured = [
        this.#capture('stdout', child.stdout),
        this.#capture('stderr', child.stderr),
      ] as const;
      this.#giveInput(child);
      onStart();
      const { exitCode, signal } = await this.#exit(child);
      await this.#lastOutput(child);
      await this.#options.sink?.finish();
      const durationMs = performance.now() - startedMs;
      const [out, err] = captured;
      return { exitCode, signal, stdout: out.text(), stderr: err.text(), durationMs };
    } finally {
      clearTimeout(this.#killing);
      await Promise.all(files.map((file) => file.close()));
    }
  }

  stop(): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#terminate();
  }

  #terminate(): void {
    const group = this.#child?.pid;
    if (group === undefined || this.#hasExited) return;
    signalGroup(group, 'SIGTERM');
    this.#killing = setTimeout(() => signalGroup(group, 'SIGKILL'), KILL_AFTER_MS);
  }

  async #openOutputs(files: FileHandle[]): Promise<readonly [number | string, number | string]> {
    const { stdout, stderr } = this.#line;
    const out = await this.#openOutput('stdout', stdout, files);
    const isSame = stdout.to === 'file' && stderr.to === 'file' && stdout.path === stderr.path;
    // Opened once, the two streams share a position and do not overwrite each other.
    return [out, isSame ? out : await this.#openOutput('stderr', stderr, files)];
  }

  async #openOutput(
    stream: string,
    target: OutputTarget,
    files: FileHandle[],
  ): Promise<number | string> {
    if (target.to === 'ignore') return 'ignore';
    if (target.to !== 'file') return 'pipe';
    try {
      const file = await open(target.path, target.append ? 'a' : 'w');
      files.push(file);
      return file.fd;
    } catch (error) {
      throw outputError(this.#line, stream, target.path, error);
    }
  }

  async #spawn(stdout: number | string, stderr: number | string): Promise<ChildProcess> {
    const { file, args, cwd, stdin } = this.#line;
    const { reaper } = this.#options;
    const options = {
      cwd,
      env: { ...this.#options.env, ...reaper.starting() },
      detached: true,
      stdio: [stdin === null ? 'ignore' : 'pipe', stdout, stderr],
    } as SpawnOptions; // SAFE: a stream is 'pipe', 'ignore' or a file descriptor
    let child: ChildProcess;
    try {
      child = spawn(file, args, options);
    } catch (error) {
      reaper.failed();
      throw await spawnError(this.#line, error);
    }
    if (child.pid === undefined) {
      reaper.failed();
      const error = await new Promise((resolve) => {
        child.once('error', resolve);
      });
      throw await spawnError(this.#line, error);
    }
    this.#child = child;
    // A signal that could not be sent, for example; the exit tells all there is to tell.
    child.on('error', () => {});
    reaper.started(child.pid);
    return child;
  }

  #capture(name: 'stdout' | 'stderr', stream: Readable | null): CapturedOutput {
    const { captureBytesMax, sink } = this.#options;
    const captured = new CapturedOutput(captureBytesMax);
    const isStreamed = this.#line[name].to === 'stream';
    stream?.on('data', (chunk: Uint8Array) => {
      if (!isStreamed || sink === undefined) {
        captured.push(chunk);
      } else if (!sink.write(name, chunk)) {
        stream.pause();
        void sink.drained().then(() => stream.resume());
      }
    });
    stream?.on('error', () => {});
    return captured;
  }

  #giveInput(child: ChildProcess): void {
    // A command need not read its input.
    child.stdin?.on('error', () => {});
    child.stdin?.end(this.#line.stdin ?? '');
  }

  async #exit(child: ChildProcess): Promise<Exit> {
    const exit = await new Promise<Exit>((resolve) => {
      child.once('exit', (exitCode, signal) => resolve({ exitCode, signal }));
    });
    const group = child.pid ?? 0;
    // A process nobody waits for stays in its group for ever, even when killed.
    const deadlineMs = performance.now() + KILL_AFTER_MS + GONE_MS;
    while (this.#isStopping && groupExists(group) && performance.now() < deadlineMs) {
      await delay(GROUP_LOOK_MS);
    }
    this.#hasExited = true;
    this.#options.reaper.ended(group);
    return exit;
  }

  /** Reads what is in the pipes, without waiting for daemons that hold them open. */
  async #lastOutput(child: ChildProcess): Promise<void> {
    const streams = [child.stdout, child.stderr].filter((stream) => stream !== null);
    let silence: NodeJS.Timeout | undefined;
    let lingering: NodeJS.Timeout | undefined;
    const givenUp = new Promise<void>((resolve) => {
      silence = setTimeout(resolve, SILENT_MS);
      lingering = setTimeout(resolve, LINGER_MS);
    });
    for (const stream of streams) stream.on('data', () => silence?.refresh());
    await Promise.race([givenUp, Promise.all(streams.map(closing))]);
    clearTimeout(silence);
    clearTimeout(lingering);
    for (const stream of streams) stream.destroy();
  }
}

function closing(stream: Readable): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) resolve();
    else stream.once('close', resolve);
  });
}

function notStarted(): CommandResult {
  return { exitCode: null, signal: null, stdout: '', stderr: '', durationMs: 0 };
}

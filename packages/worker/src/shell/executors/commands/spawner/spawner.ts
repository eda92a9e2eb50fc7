import { FarmError } from '@farm/protocol/core';
import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';

import { signalGroup } from '../process-group.ts';
import { pinnedCommand } from '../../../pinning/pin.ts';
import { HeldReports } from './held-reports.ts';
import { FrameReader, parseReport, type SpawnerReport, textFrame } from './spawner-frames.ts';
import { SPAWNER_PROGRAM } from './spawner-program.ts';

/** How long a spawner may take until it says that it is ready. */
const READY_MS = 2_000;

/** A command for a spawner; no text has a NUL. */
export interface SpawnRequest {
  /** Commands of one lane run one after the other, in the order they were given. */
  readonly lane: number;
  readonly cwd: string;
  readonly argv: readonly string[];
  /** What every command inherits. */
  readonly inherited: readonly string[];
  /** `NAME=value`, on top of what is inherited. */
  readonly env: readonly string[];
  readonly stdout: string;
  readonly stderr: string;
  readonly captureBytesMax: number;
  /** Where it enters its control group. @default none */
  readonly cgroup?: string | undefined;
}

/** What becomes of a command; exactly one of `ended`, `failed`, `takenBack` and `lost` is called, once. */
export interface SpawnHandlers {
  /** Runs under this pid, which is its process group; not told of those that end at once. */
  started?(pid: number): void;
  output?(stream: 'stdout' | 'stderr', chunk: Uint8Array): void;
  ended(end: SpawnEnd): void;
  failed(failure: SpawnFailure): void;
  /** It has not begun and will not. */
  takenBack(): void;
  /** It was asked back, and has begun. */
  kept?(): void;
  /** The spawner died; what ran has been killed. */
  lost(error: FarmError): void;
}

/** How a command ended. */
export type SpawnEnd = Extract<SpawnerReport, { kind: 'ended' }>;

/** Why a command did not start. */
export type SpawnFailure = Extract<SpawnerReport, { kind: 'failed' }>;

interface Spawned {
  readonly lane: number;
  readonly handlers: SpawnHandlers;
  pid: number | undefined;
}

/**
 * A small process that starts commands for the worker, several times faster than the worker can do
 * it itself, and that ends them when the worker is gone.
 */
export class Spawner {
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #frames = new FrameReader();
  readonly #held: HeldReports;
  readonly #running = new Map<number, Spawned>();
  readonly #onReady: (isReady: boolean) => void;
  /** Frames that are not written yet. */
  readonly #orders: Buffer[] = [];
  #inherited: readonly string[] = [];
  #inheritedText: string | undefined;
  #lastId = 0;
  #isAlive = true;

  /**
   * Starts one, with the Python at this path, bound to these CPUs.
   *
   * @returns undefined where it does not work: no Python, too old, too slow
   */
  static async start(python: string, cpus?: string): Promise<Spawner | undefined> {
    let spawner: Spawner | undefined;
    let deadline: NodeJS.Timeout | undefined;
    const held = HeldReports.make();
    if (held === undefined) return undefined;
    const isReady = await new Promise<boolean>((resolve) => {
      deadline = setTimeout(() => resolve(false), READY_MS);
      spawner = new Spawner(python, cpus, held, resolve);
    });
    clearTimeout(deadline);
    if (!isReady) spawner?.kill();
    return isReady ? spawner : undefined;
  }

  private constructor(
    python: string,
    cpus: string | undefined,
    held: HeldReports,
    onReady: (isReady: boolean) => void,
  ) {
    this.#onReady = onReady;
    this.#held = held;
    // A session and directory of its own: signals of the worker's terminal do not reach it, and it
    // does not keep a file system busy. -I: nothing of the user's Python, -S: nothing of a site's.
    const [file, args] = pinnedCommand(cpus, python, ['-I', '-S', '-c', SPAWNER_PROGRAM]);
    const process: ChildProcess = spawn(file, args, {
      stdio: ['pipe', 'pipe', 'ignore', held.fd],
      detached: true,
      cwd: '/',
    });
    // SAFE: the first two are pipes.
    this.#process = process as ChildProcessByStdio<Writable, Readable, null>;
    this.#process.once('error', () => this.#died('could not be started'));
    this.#process.once('exit', () => {
      this.#isAlive = false;
    });
    // By then all that it wrote has been read.
    this.#process.once('close', (code, signal) => {
      this.#died(signal === null ? `exited with code ${code}` : `was ended by signal ${signal}`);
    });
    this.#process.stdin.on('error', () => {});
    this.#process.stdout.on('error', () => {});
    this.#process.stdout.on('data', (chunk: Buffer) => {
      for (const body of this.#frames.push(chunk)) this.#report(parseReport(body));
    });
    this.#process.unref();
    hold(this.#process.stdin, false);
    hold(this.#process.stdout, false);
  }

  /** False when it has died; it is to be replaced. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  /**
   * Starts a command, once those before it in its lane have ended.
   *
   * @returns the number that `stop` and `takeBack` take
   */
  run(request: SpawnRequest, handlers: SpawnHandlers): number {
    const id = ++this.#lastId;
    if (!this.#isAlive) {
      queueMicrotask(() => handlers.lost(this.#lostError('has ended')));
      return id;
    }
    if (this.#running.size === 0) hold(this.#process.stdout, true);
    this.#running.set(id, { lane: request.lane, handlers, pid: undefined });
    this.inherit(request.inherited);
    const { lane, cwd, argv, env, stdout, stderr, captureBytesMax, cgroup = '' } = request;
    const head = ['R', id, lane, captureBytesMax, cwd, stdout, stderr, cgroup, env.length];
    this.#order([...head.map(String), ...env, ...argv]);
    return id;
  }

  /**
   * Ends a command with all of its process group: SIGTERM, after 2 s SIGKILL. What is behind it in
   * its lane is taken back before; it is itself where it has not begun.
   */
  stop(id: number): void {
    if (this.#isAlive) this.#order(['S', String(id)]);
  }

  /** Asks for a command that may not have begun: it is `takenBack` or `kept`. */
  takeBack(id: number): void {
    if (this.#isAlive) this.#order(['T', String(id)]);
  }

  /** Hears nothing of it until then, and so slows down what writes much. */
  pauseUntil(ready: Promise<void>): void {
    if (this.#process.stdout.isPaused()) return;
    this.#process.stdout.pause();
    void ready.then(() => this.#process.stdout.resume());
  }

  /** Ends it at once, before it has any command. */
  kill(): void {
    this.#process.kill('SIGKILL');
  }

  /** Lets it end. Commands that still run are killed. */
  close(): void {
    this.#flush();
    this.#process.stdin.end();
  }

  /** Sets what all commands inherit that begin from now on. */
  inherit(inherited: readonly string[]): void {
    if (inherited === this.#inherited || !this.#isAlive) return;
    this.#inherited = inherited;
    const text = inherited.join('\0');
    if (text === this.#inheritedText) return;
    this.#inheritedText = text;
    this.#order(['E', text]);
  }

  /** Orders of one moment leave together. */
  #order(fields: readonly string[]): void {
    if (this.#orders.push(textFrame(fields)) === 1) queueMicrotask(() => this.#flush());
  }

  #flush(): void {
    const orders = this.#orders.splice(0);
    if (orders.length > 0) this.#process.stdin.write(Buffer.concat(orders));
  }

  #report(report: SpawnerReport): void {
    if (report.kind === 'ready') {
      this.#onReady(true);
      return;
    }
    const spawned = this.#running.get(report.id);
    if (spawned === undefined) return;
    switch (report.kind) {
      case 'started':
        spawned.pid = report.pid;
        spawned.handlers.started?.(report.pid);
        return;
      case 'output':
        spawned.handlers.output?.(report.stream, report.chunk);
        return;
      case 'kept':
        spawned.handlers.kept?.();
        return;
      default:
        this.#running.delete(report.id);
        if (this.#running.size === 0) hold(this.#process.stdout, false);
        if (report.kind === 'ended') spawned.handlers.ended(report);
        else if (report.kind === 'failed') spawned.handlers.failed(report);
        else spawned.handlers.takenBack();
    }
  }

  #died(how: string): void {
    this.#isAlive = false;
    this.#onReady(false);
    const { reports, begun } = this.#held.take();
    for (const body of new FrameReader().push(reports)) this.#report(parseReport(body));
    const left = [...this.#running.values()];
    // It tells of those that run only after a moment.
    for (const [id, spawned] of this.#running) spawned.pid ??= begun.get(id);
    this.#running.clear();
    // The first of each lane had begun, or was to; those behind it had not.
    const first = new Map<number, Spawned>();
    for (const spawned of left) {
      if (!first.has(spawned.lane)) first.set(spawned.lane, spawned);
    }
    for (const spawned of left.toReversed()) {
      if (first.get(spawned.lane) !== spawned) spawned.handlers.takenBack();
    }
    for (const { pid, handlers } of first.values()) {
      if (pid !== undefined) signalGroup(pid, 'SIGKILL');
      handlers.lost(this.#lostError(how));
    }
  }

  #lostError(how: string): FarmError {
    return new FarmError(
      'ERR_INTERNAL',
      `the process that had started the command ${how}; the command was killed`,
    );
  }
}

/** Whether a pipe keeps the worker's process from ending. */
function hold(stream: Readable | Writable, isHeld: boolean): void {
  // SAFE: a pipe of a child process is a socket.
  const socket = stream as (Readable | Writable) & { ref?: () => void; unref?: () => void };
  if (isHeld) socket.ref?.();
  else socket.unref?.();
}

import { type ChildProcess, spawn } from 'node:child_process';
import { Duplex, type Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';

import { withHugePages } from '@farm/protocol/huge-pages';

import type { GroupReaper } from '../commands/group-reaper.ts';
import { signalGroup } from '../commands/process-group.ts';
import type { TaskCgroup } from '../../task-memory/cgroups/task-cgroup.ts';
import type { TaskCgroups } from '../../task-memory/cgroups/task-cgroups.ts';
import type { PackedFailure } from '../threads/thread-messages.ts';
import { unpackFailure } from '../threads/thread-messages.ts';
import { FrameReader, writeFrame } from './frames.ts';
import { pinnedCommand } from '../../pinning/pin.ts';
import { residentBytes } from '../../nanny/resident-memory.ts';
import type { ProcessBoundMessage, ProcessData, WorkerBoundFrame } from './process-messages.ts';

/** How long what a dead process wrote is waited for, where another process holds its pipes. */
const DRAIN_MS = 500;
/** Characters of standard error in which the reason of an end is looked for. */
const TAIL_LENGTH = 4_096;

const ENTRY = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? './process-main.ts' : './process-main.js',
    import.meta.url,
  ),
);

/** What a process tells its owner. */
export interface SlotProcessHandlers {
  said(frame: Exclude<WorkerBoundFrame, { say: 'crashed' }>, body: Uint8Array): void;
  output(stream: 'stdout' | 'stderr', text: string): void;
  /** Once; everything the process said came before, and nothing of its group is left. */
  ended(why: ProcessEnd): void;
}

/** How a process ended. */
export interface ProcessEnd {
  /** A clause for messages: `was killed by SIGSEGV`. */
  readonly text: string;
  /** The exception it ended by; undefined where it was none. */
  readonly crash: PackedFailure | undefined;
  /** What it took when the kernel killed in it, since it had more memory than it may. */
  readonly exceededBytes: number | undefined;
}

/** Options of {@link SlotProcess}. */
export interface SlotProcessOptions extends ProcessData {
  readonly cwd: string;
  readonly env: NodeJS.ProcessEnv;
  /** CPUs it is bound to; undefined for none. */
  readonly cpus: string | undefined;
  /** Limit of the JavaScript heap; undefined for Node's own. */
  readonly heapMegabytes: number | undefined;
  readonly reaper: GroupReaper;
  /** Where it gets a control group of its own; undefined for none. */
  readonly cgroups: TaskCgroups | undefined;
  readonly handlers: SlotProcessHandlers;
}

/** A child process that executes runs, in a process group of its own. */
export class SlotProcess {
  /** Undefined where it has none. */
  readonly cgroup: TaskCgroup | undefined;
  readonly #child: ChildProcess;
  readonly #connection: Duplex | undefined;
  readonly #options: SlotProcessOptions;
  #crash: PackedFailure | undefined;
  #tail = '';
  #hasEnded = false;

  constructor(options: SlotProcessOptions) {
    this.#options = options;
    const { workerName, slot, scheduler, resultLimit, cwd, env, heapMegabytes } = options;
    const { reaper, cpus } = options;
    const data: ProcessData = { workerName, slot, scheduler, resultLimit };
    const heap = heapMegabytes === undefined ? [] : [`--max-old-space-size=${heapMegabytes}`];
    const argv = [...inheritedArguments(process.execArgv), ...heap, ENTRY, JSON.stringify(data)];
    const [file, args] = pinnedCommand(cpus, process.execPath, argv);
    const child = spawn(file, args, {
      cwd,
      env: withHugePages({ ...env, ...reaper.starting() }),
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child = child;
    if (child.pid === undefined) reaper.failed();
    else reaper.started(child.pid);
    this.cgroup = this.#enclosed();
    child.once('error', (error) => this.#end(`could not be started: ${error.message}`));
    child.once('exit', (code, signal) => this.#exited(code, signal));
    const connection = child.stdio[3];
    this.#connection = connection instanceof Duplex ? connection : undefined;
    const reader = new FrameReader((header, body) => {
      // SAFE: the program at the other end speaks only this.
      this.#said(header as WorkerBoundFrame, body);
    });
    this.#connection?.on('data', (chunk: Uint8Array) => reader.push(chunk));
    // A process that closes its end is of no use; one that died says so by its exit.
    this.#connection?.on('error', () => this.kill());
    this.#connection?.on('end', () => this.kill());
    this.#listen('stdout', child.stdout);
    this.#listen('stderr', child.stderr);
    child.unref();
    for (const stream of child.stdio) unref(stream);
  }

  post(message: ProcessBoundMessage, body?: Uint8Array): void {
    if (this.#connection?.writable === true) writeFrame(this.#connection, message, body);
  }

  /** Its resident memory; undefined where the kernel does not tell. */
  memoryBytes(): number | undefined {
    const { pid } = this.#child;
    return pid === undefined ? undefined : residentBytes(pid);
  }

  /** Almost nothing is charged to it before: it has just been started. */
  #enclosed(): TaskCgroup | undefined {
    const { pid } = this.#child;
    const { cgroups } = this.#options;
    const cgroup = pid === undefined ? undefined : cgroups?.make(Infinity);
    if (pid === undefined || cgroup === undefined) return undefined;
    try {
      cgroup.add(pid);
      return cgroup;
    } catch {
      cgroups?.remove(cgroup);
      return undefined;
    }
  }

  /** Kills it and all it started in its group; `ended` follows. */
  kill(): void {
    const { pid } = this.#child;
    if (pid !== undefined && !this.#hasEnded) signalGroup(pid, 'SIGKILL');
  }

  #listen(name: 'stdout' | 'stderr', stream: Readable | null): void {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      if (name === 'stderr') this.#tail = (this.#tail + text).slice(-TAIL_LENGTH);
      this.#options.handlers.output(name, text);
    });
  }

  #said(frame: WorkerBoundFrame, body: Uint8Array): void {
    if (this.#hasEnded) return;
    if (frame.say === 'crashed') this.#crash = unpackFailure(body);
    else this.#options.handlers.said(frame, body);
  }

  #exited(code: number | null, signal: NodeJS.Signals | null): void {
    const { pid } = this.#child;
    // What it started and left behind goes with it.
    if (pid !== undefined) signalGroup(pid, 'SIGKILL');
    this.cgroup?.kill();
    const finish = (): void => {
      clearTimeout(timer);
      this.#end(this.#endText(code, signal));
    };
    const timer = setTimeout(finish, DRAIN_MS);
    this.#child.once('close', finish);
  }

  #endText(code: number | null, signal: NodeJS.Signals | null): string {
    if (this.#crash !== undefined) return this.#crash.message;
    if (/heap out of memory|ENOMEM|Array buffer allocation failed/.test(this.#tail)) {
      return `ran out of memory (${signal ?? `exit code ${code}`})`;
    }
    if (signal === 'SIGSEGV' || signal === 'SIGBUS') {
      return `was killed by ${signal}: a fault of native code`;
    }
    if (signal === 'SIGABRT') return 'was killed by SIGABRT, as by process.abort()';
    if (signal === 'SIGKILL') return 'was killed by SIGKILL, as by a system out of memory';
    if (signal !== null) return `was killed by ${signal}`;
    return `exit code ${code}, as by process.exit(${code})`;
  }

  #end(text: string): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const { pid } = this.#child;
    if (pid !== undefined) this.#options.reaper.ended(pid);
    for (const stream of this.#child.stdio) stream?.destroy();
    const { cgroup } = this;
    const exceededBytes = cgroup?.wasExceeded === true ? cgroup.chargedBytesMax : undefined;
    if (cgroup !== undefined) this.#options.cgroups?.remove(cgroup);
    this.#options.handlers.ended({ text, crash: this.#crash, exceededBytes });
  }
}

/** Node's arguments for a process that runs another program than this one: not the program itself. */
function inheritedArguments(all: readonly string[]): readonly string[] {
  let isValue = false;
  return all.filter((argument) => {
    const isDropped =
      isValue || /^(-p?e|-p|--(eval|print|input-type|inspect|test|watch))/.test(argument);
    isValue = !isValue && /^(-p?e|-p|--(eval|print|input-type))$/.test(argument);
    return !isDropped;
  });
}

/** A pipe of a child is a socket, which can be kept from holding the process. */
function unref(stream: object | null | undefined): void {
  if (stream !== null && stream !== undefined && 'unref' in stream) {
    const { unref: act } = stream;
    if (typeof act === 'function') act.call(stream);
  }
}

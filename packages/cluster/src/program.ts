import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

import { EXIT_WITH_STDIN, SHARED_DIRECTORY } from '@farm/protocol';
import { withHugePages } from '@farm/protocol/huge-pages';

/** Characters of a child's stderr kept for the message of its failure. */
const STDERR_KEPT = 4_000;

/** How to start one of farm's programs. */
export interface ProgramOptions {
  readonly program: 'scheduler' | 'worker';
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string | undefined;
  /** Directory of the cluster's files. The programs remove it when this process dies. */
  readonly directory: string;
  /** Whether the program's log goes to this process's stderr. */
  readonly showLog: boolean;
  /** Whether what tasks print goes to this process's stdout. */
  readonly showOutput: boolean;
}

/**
 * A `farm-scheduler` or `farm-worker` running as a child. It ends when this process does, however
 * this process ends: the child watches its standard input, a pipe only this process holds.
 */
export class ProgramProcess {
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;
  #stderr = '';

  constructor(options: ProgramOptions) {
    const manifest = import.meta.resolve(`@farm/${options.program}/package.json`);
    const entry = fileURLToPath(new URL(`bin/farm-${options.program}.js`, manifest));
    const env = {
      ...process.env,
      ...options.env,
      [EXIT_WITH_STDIN]: '1',
      [SHARED_DIRECTORY]: options.directory,
    };
    const child = spawn(process.execPath, [entry, ...options.args], {
      stdio: ['pipe', options.showOutput ? 'inherit' : 'ignore', 'pipe'],
      env: options.program === 'worker' ? withHugePages(env) : env,
      cwd: options.cwd,
      // An own process group: a Ctrl-C in the terminal reaches this process, which then closes
      // the children in order.
      detached: true,
    });
    this.#child = child;
    child.stderr?.setEncoding('utf8');
    child.stderr?.on('data', (text: string) => {
      this.#stderr = (this.#stderr + text).slice(-STDERR_KEPT);
      if (options.showLog) process.stderr.write(text);
    });
    child.stdin?.on('error', () => {});
    this.#exited = exited(child);
    unrefAll(child);
  }

  /** Process id; undefined where it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Whether it has ended. */
  get hasExited(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  /** The end of its log, for error messages. */
  get logTail(): string {
    return this.#stderr.trim();
  }

  /** Resolves when the process is gone. */
  get exited(): Promise<void> {
    return this.#exited;
  }

  /** Asks it to end, then makes it. Resolves when it is gone. */
  async stop(graceMs: number): Promise<void> {
    if (this.hasExited) return;
    this.#child.ref();
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.kill(), graceMs);
    await this.#exited;
    clearTimeout(timer);
  }

  /** Ends it and its process group at once. */
  kill(): void {
    if (this.hasExited || this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGKILL');
    } catch {
      this.#child.kill('SIGKILL');
    }
  }
}

async function exited(child: ChildProcess): Promise<void> {
  try {
    await once(child, 'exit');
  } catch {
    // It could not be started; the reader of `exited` looks at the log and the pid.
  }
}

/** A cluster that nobody closes must not keep the program alive. */
function unrefAll(child: ChildProcess): void {
  child.unref();
  for (const stream of [child.stdin, child.stderr]) {
    if (stream instanceof Socket) stream.unref();
  }
}

import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { onTestFinished } from 'vitest';

/** A farm program as a user starts it, with its log kept. */
export class Program {
  readonly child: ChildProcess;
  log = '';
  stdout = '';

  constructor(name: 'farm-scheduler' | 'farm-worker', args: readonly string[], cwd: string) {
    const folder = name.replace('farm-', '');
    const entry = fileURLToPath(new URL(`../../${folder}/bin/${name}.js`, import.meta.url));
    this.child = spawn(process.execPath, [entry, ...args], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, FARM_HOME: join(cwd, '.farm') },
    });
    this.child.stdout?.setEncoding('utf8').on('data', (text: string) => (this.stdout += text));
    this.child.stderr?.setEncoding('utf8').on('data', (text: string) => (this.log += text));
  }

  /** Resolves with the exit code, or the signal's name. */
  async ended(deadlineMs = 15_000): Promise<number | NodeJS.Signals | null> {
    const { child } = this;
    if (child.exitCode === null && child.signalCode === null) {
      await once(child, 'close', { signal: AbortSignal.timeout(deadlineMs) });
    }
    return child.exitCode ?? child.signalCode;
  }
}

/** A directory with processes in it, all gone after `close`. */
export class Site {
  readonly directory: string;
  readonly schedulerFile: string;
  readonly #programs: Program[] = [];

  private constructor(directory: string) {
    this.directory = directory;
    this.schedulerFile = join(directory, 'scheduler.json');
  }

  /** One for the test that runs. */
  static async open(): Promise<Site> {
    const site = await Site.openForAll();
    // A test that runs out of time never comes to its own end.
    onTestFinished(() => site[Symbol.asyncDispose]());
    return site;
  }

  /** One for several tests, which whoever opens it has to close. */
  static async openForAll(): Promise<Site> {
    return new Site(await mkdtemp(join(tmpdir(), 'farm-test-')));
  }

  start(name: 'farm-scheduler' | 'farm-worker', ...args: readonly string[]): Program {
    const program = new Program(name, args, this.directory);
    this.#programs.push(program);
    return program;
  }

  scheduler(...args: readonly string[]): Program {
    const file = ['--scheduler-file', 'scheduler.json', '--port', '0', '--no-dashboard'];
    return this.start('farm-scheduler', ...file, ...args);
  }

  worker(...args: readonly string[]): Program {
    return this.start('farm-worker', '--scheduler-file', 'scheduler.json', ...args);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { child } of this.#programs) child.kill('SIGTERM');
    for (const program of this.#programs) {
      await program.ended(8_000).catch(() => program.child.kill('SIGKILL'));
    }
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** Waits until a condition holds. */
export async function until(
  what: string,
  condition: () => boolean | Promise<boolean>,
  deadlineMs = 15_000,
): Promise<void> {
  const endMs = performance.now() + deadlineMs;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`not within ${deadlineMs} ms: ${what}`);
    await delay(10);
  }
}

/** Whether a process runs. One that has ended and was not reaped by its parent does not. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).charAt(0) !== 'Z';
  } catch {
    return false;
  }
}

/** A process and all that descend from it (Linux). */
export function treeOf(root: number): readonly number[] {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const parent = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1];
      parents.set(Number(name), Number(parent));
    } catch {
      // It has just ended.
    }
  }
  const tree = [root];
  for (const pid of tree) {
    for (const [child, parent] of parents) if (parent === pid) tree.push(child);
  }
  return tree;
}

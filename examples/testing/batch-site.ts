import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

import { isAlive, until } from '../../packages/cluster/test/processes.ts';
import { ROOT, runProgram } from './run-script.ts';
import type { Ended, RunOptions } from './run-script.ts';

const EXAMPLES = fileURLToPath(new URL('..', import.meta.url));
const STAND_INS = fileURLToPath(new URL('stand-ins', import.meta.url));

/** Environment variable by which a site knows its processes. */
const MARK = 'FARM_TEST_SITE';

/**
 * A directory where batch scripts of the examples run, with stand-ins for the commands of a batch
 * system, and the repository's `farm-scheduler`, `farm-worker` and `node` on the PATH.
 */
export class BatchSite {
  readonly directory: string;
  readonly schedulerFile: string;
  /** What every process of this site has in its environment. */
  readonly env: Readonly<Record<string, string>>;

  private constructor(directory: string) {
    this.directory = directory;
    this.schedulerFile = join(directory, 'scheduler.json');
    const path = [STAND_INS, join(ROOT, 'node_modules', '.bin'), process.env['PATH'] ?? ''];
    this.env = {
      [MARK]: directory,
      PATH: path.join(delimiter),
      NODE_OPTIONS: '--conditions=@farm/source',
      STAND_IN_JOBS: join(directory, 'jobs'),
      SCHEDULER_FILE: this.schedulerFile,
      FARM_HOME: join(directory, '.farm'),
      FARM_INTERFACE: 'lo',
    };
  }

  static async open(): Promise<BatchSite> {
    return new BatchSite(await mkdtemp(join(tmpdir(), 'farm-batch-')));
  }

  /** Runs a script of the examples to its end, in the site's directory unless told otherwise. */
  async run(
    script: string,
    args: readonly string[] = [],
    options: Partial<RunOptions> = {},
  ): Promise<Ended> {
    return runProgram('bash', [resolve(EXAMPLES, script), ...args], {
      cwd: this.directory,
      ...options,
      env: { ...this.env, ...options.env },
    });
  }

  /** Ids of the site's processes that still run, whoever started them. */
  async processes(): Promise<readonly number[]> {
    const found: number[] = [];
    for (const entry of await readdir('/proc')) {
      const pid = Number(entry);
      if (!Number.isSafeInteger(pid)) continue;
      const environment = await readFile(`/proc/${entry}/environ`, 'utf8').catch(() => '');
      if (environment.split('\0').includes(`${MARK}=${this.directory}`) && isAlive(pid)) {
        found.push(pid);
      }
    }
    return found;
  }

  /** Waits until no process of the site is left. */
  async ended(deadlineMs = 15_000): Promise<void> {
    const gone = async (): Promise<boolean> => (await this.processes()).length === 0;
    await until('all processes of the site have ended', gone, deadlineMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
      for (const pid of await this.processes()) {
        try {
          process.kill(pid, signal);
        } catch {
          // It has just ended.
        }
      }
      await this.ended(5_000).catch(() => {});
    }
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5 });
  }
}

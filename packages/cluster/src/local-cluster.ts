import { mkdtemp, rm } from 'node:fs/promises';
import { rmSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';

import { Client } from '@farm/client';
import { FarmError, formatAddress, LIMITS, waitForSchedulerFile } from '@farm/protocol';

import { ProgramProcess } from './program.ts';

/** How long the processes may take to come up. */
const START_MS = 30_000;
/** How long a process may take to end when asked to. */
const STOP_MS = 5_000;
/** A worker has its plugins to tear down besides. */
const WORKER_STOP_MS: number = STOP_MS + LIMITS.pluginTeardownMs;

/** Options of a {@link LocalCluster}. */
export interface LocalClusterOptions {
  /**
   * Worker processes.
   * @default as Dask splits cores: n ≤ 4 cores make n workers, more make about √n of them
   */
  readonly workers?: number;
  /** Slots of each worker. @default cores ÷ workers, at least 1 */
  readonly threadsPerWorker?: number;
  /** Resources of each worker, for example `{ GPU: 1 }`. @default none */
  readonly resources?: Readonly<Record<string, number>>;
  /** Memory limit of each worker, as `--memory-limit` takes it. @default 'auto' */
  readonly memoryLimit?: string;
  /** Whether workers that die are started again. @default true */
  readonly nanny?: boolean;
  /** Port of the scheduler. @default 0, any free one */
  readonly schedulerPort?: number;
  /** Where the dashboard listens; null for none. @default '127.0.0.1:8787' */
  readonly dashboardAddress?: string | null;
  /** Added to the environment of the processes, and so of tasks. @default none */
  readonly env?: Readonly<Record<string, string>>;
  /** Directory the processes work in; relative paths of commands start there.
   * @default this process's */
  readonly cwd?: string;
  /** Whether the log of the processes appears on stderr. @default false */
  readonly showLog?: boolean;
  /** Whether what tasks print appears on stdout. @default true */
  readonly showOutput?: boolean;
  /** Whether `start` returns only once all workers are connected. @default true */
  readonly waitForWorkers?: boolean;
}

/**
 * A scheduler and workers as processes on this machine, on loopback. They end with this process,
 * whichever way it ends.
 *
 * @example
 * await using cluster = await LocalCluster.start({ workers: 4 });
 * await using client = new Client(cluster);
 */
export class LocalCluster implements AsyncDisposable {
  /** The scheduler's file, for `--scheduler-file` and `new Client({ schedulerFile })`. */
  readonly schedulerFile: string;
  /** The scheduler's address. */
  readonly address: string;
  /** A page that shows the cluster, with the token it asks for; null without dashboard. */
  readonly dashboardLink: string | null;
  readonly #options: LocalClusterOptions;
  readonly #directory: string;
  readonly #scheduler: ProgramProcess;
  readonly #workers: ProgramProcess[] = [];
  readonly #atExit: () => void;
  #started = 0;
  #closing: Promise<void> | undefined;

  private constructor(started: StartedScheduler, options: LocalClusterOptions) {
    this.#options = options;
    this.#directory = started.directory;
    this.#scheduler = started.process;
    this.schedulerFile = started.schedulerFile;
    this.address = started.address;
    this.dashboardLink = started.dashboardLink;
    this.#atExit = () => {
      for (const program of [...this.#workers, this.#scheduler]) program.kill();
      rmSync(this.#directory, { recursive: true, force: true });
    };
    process.once('exit', this.#atExit);
  }

  /**
   * Starts the processes.
   *
   * @throws FarmError `ERR_ARGUMENT` for options that make no sense, `ERR_CONNECT` where a process
   *   did not come up; the message has the end of its log.
   */
  static async start(options: LocalClusterOptions = {}): Promise<LocalCluster> {
    checkCount('workers', options.workers, 0);
    checkCount('threadsPerWorker', options.threadsPerWorker, 1);
    const started = await startScheduler(options);
    const cluster = new LocalCluster(started, options);
    try {
      const count = options.workers ?? defaultWorkers(availableParallelism());
      cluster.#addWorkers(count);
      if (options.waitForWorkers !== false) await cluster.#connected(count);
      return cluster;
    } catch (error) {
      await cluster.close();
      throw error;
    }
  }

  /** Worker processes that were started and not told to end. */
  get workers(): number {
    return this.#workers.filter((worker) => !worker.hasExited).length;
  }

  /**
   * Starts or ends worker processes until there are `count`. The youngest end first; their
   * unfinished tasks run elsewhere. Resolves when the new workers are connected or the surplus
   * ones are gone.
   */
  async scale(count: number): Promise<void> {
    checkCount('count', count, 0);
    if (this.#closing !== undefined) throw new FarmError('ERR_CLOSED', 'the cluster is closed');
    const running = this.#workers.filter((worker) => !worker.hasExited);
    if (count >= running.length) {
      this.#addWorkers(count - running.length);
      await this.#connected(count);
      return;
    }
    const surplus = running.slice(count);
    for (const worker of surplus) this.#workers.splice(this.#workers.indexOf(worker), 1);
    await Promise.all(surplus.map((worker) => worker.stop(WORKER_STOP_MS)));
  }

  /** Ends all processes and removes their files. Idempotent. */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    // The scheduler tells its workers to end; they are asked directly too, in case it is gone.
    const workers = this.#workers.map((worker) => worker.stop(WORKER_STOP_MS));
    await Promise.all([...workers, this.#scheduler.stop(STOP_MS)]);
    process.removeListener('exit', this.#atExit);
    await rm(this.#directory, { recursive: true, force: true });
  }

  #addWorkers(count: number): void {
    const { options, threads } = this.#workerShape();
    for (let added = 0; added < count; added++) {
      const args = ['--scheduler-file', this.schedulerFile, '--nthreads', String(threads)];
      args.push('--name', `local-${this.#started}`, '--local-directory', this.#directory);
      args.push('--memory-limit', options.memoryLimit ?? 'auto');
      if (options.nanny === false) args.push('--no-nanny');
      const resources = Object.entries(options.resources ?? {});
      if (resources.length > 0) {
        args.push('--resources', resources.map(([name, amount]) => `${name}=${amount}`).join(' '));
      }
      this.#started += 1;
      this.#workers.push(start('worker', args, this.#directory, options));
    }
  }

  #workerShape(): { readonly options: LocalClusterOptions; readonly threads: number } {
    const cores = availableParallelism();
    const workers = this.#options.workers ?? defaultWorkers(cores);
    const threads = Math.max(1, Math.floor(cores / Math.max(workers, 1)));
    return { options: this.#options, threads: this.#options.threadsPerWorker ?? threads };
  }

  async #connected(count: number): Promise<void> {
    await using client = new Client({ schedulerFile: this.schedulerFile });
    const died = Promise.race(
      this.#workers.map(async (worker) => {
        await worker.exited;
        throw new FarmError('ERR_CONNECT', `a worker of the cluster ended:\n${worker.logTail}`);
      }),
    );
    await Promise.race([client.waitForWorkers(count, { timeoutMs: START_MS }), died]);
  }
}

interface StartedScheduler {
  readonly process: ProgramProcess;
  readonly directory: string;
  readonly schedulerFile: string;
  readonly address: string;
  readonly dashboardLink: string | null;
}

async function startScheduler(options: LocalClusterOptions): Promise<StartedScheduler> {
  const directory = await mkdtemp(join(tmpdir(), 'farm-cluster-'));
  const schedulerFile = join(directory, 'scheduler.json');
  const dashboard =
    options.dashboardAddress === undefined ? '127.0.0.1:8787' : options.dashboardAddress;
  const args = ['--scheduler-file', schedulerFile, '--host', '127.0.0.1'];
  args.push('--port', String(options.schedulerPort ?? 0));
  args.push(...(dashboard === null ? ['--no-dashboard'] : ['--dashboard-address', dashboard]));
  const program = start('scheduler', args, directory, options);
  const givenUp = new AbortController();
  const died = program.exited.then(() => {
    throw new FarmError('ERR_CONNECT', `the scheduler of the cluster ended:\n${program.logTail}`);
  });
  try {
    const file = waitForSchedulerFile(schedulerFile, {
      role: 'client',
      timeoutMs: START_MS,
      signal: givenUp.signal,
    });
    const { address, services, token } = await Promise.race([file, died]);
    const port = services.dashboard;
    return {
      process: program,
      directory,
      schedulerFile,
      address: formatAddress(address),
      dashboardLink: port === undefined ? null : `http://127.0.0.1:${port}/status?token=${token}`,
    };
  } catch (error) {
    givenUp.abort();
    program.kill();
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

function start(
  program: 'scheduler' | 'worker',
  args: readonly string[],
  directory: string,
  options: LocalClusterOptions,
): ProgramProcess {
  return new ProgramProcess({
    program,
    args,
    directory,
    env: options.env ?? {},
    cwd: options.cwd,
    showLog: options.showLog ?? false,
    showOutput: options.showOutput ?? true,
  });
}

/** Dask's split: one worker a core up to 4 cores, then the smallest divisor at least √cores. */
function defaultWorkers(cores: number): number {
  if (cores <= 4) return cores;
  let workers = Math.ceil(Math.sqrt(cores));
  while (cores % workers !== 0) workers += 1;
  return workers;
}

function checkCount(name: string, count: number | undefined, least: number): void {
  if (count === undefined || (Number.isSafeInteger(count) && count >= least)) return;
  throw new FarmError('ERR_ARGUMENT', `${name} must be a whole number from ${least}, not ${count}`);
}

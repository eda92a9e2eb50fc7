import { spawn, type ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';

import {
  EXIT_WITH_STDIN,
  formatBytes,
  formatDuration,
  LIMITS,
  type Logger,
  type PreviousDeath,
} from '@farm/protocol';
import { withHugePages } from '@farm/protocol/huge-pages';

import { MEMORY_FRACTIONS } from '../../core/index.ts';
import { EXIT_RESTART } from '../exit-restart.ts';
import { DRAIN_WORD } from '../leave-in-order.ts';
import { DRAIN_TIMEOUT_MS, Lifetimes, type LeavingOptions } from '../lifetime.ts';
import type { WorkerEnd } from '../worker-end.ts';
import type { WorkerOptions } from '../worker-options.ts';
import { serveNannyPlugins } from './nanny-link.ts';
import type { NannyPlugins } from './nanny-plugins.ts';
import { FROZEN_MS, watchLife } from './life-sign.ts';
import { residentBytes } from './resident-memory.ts';
import { RestartPolicy, type DeathCause } from './restart-policy.ts';

const MEMORY_LOOK_MS = 200;
/** A worker that wants to be started again is, after this long. */
const RESTART_MS = 100;
/** A worker that was asked to end and has not after this long is killed. */
const END_MS = 15_000 + LIMITS.pluginTeardownMs;

/** Characters of a worker's standard error that are kept. */
const LOG_TAIL_LENGTH = 2_000;

/** What was seen of a worker process. */
interface Watch {
  rssBytes: number | null;
  logTail: string;
  /** The nanny has killed it, since it took too much. */
  isKilledForMemory: boolean;
}

/** What a worker process is told, as JSON in its arguments. */
export type WorkerProcessOptions = Omit<WorkerOptions, 'logger' | 'output' | 'token'> &
  LeavingOptions;

/** Environment variable with the {@link PreviousDeath} of a worker that is started again, as JSON. */
export const PREVIOUS_DEATH = 'FARM_PREVIOUS_DEATH';

/** Options of {@link Nanny}. */
export interface NannyOptions {
  readonly worker: WorkerProcessOptions;
  /** Whether a worker that died is started again. */
  readonly isRestarting: boolean;
  readonly logger: Logger;
  /** A worker that could run and gives no sign of life for so long is killed. @default 300_000 */
  readonly frozenMs?: number;
  /**
   * Starts a worker process, whose end of standard input means: end.
   * @default this package's own, under the flags of this process
   */
  readonly spawnWorker?: (options: WorkerProcessOptions, env: NodeJS.ProcessEnv) => ChildProcess;
  /** Plugins, which may change the environment of the worker. @default none */
  readonly plugins?: NannyPlugins;
}

/**
 * Runs one worker as a process of its own: starts it again when it dies, and kills it when it takes
 * more memory than it may. The worker ends when its nanny does, however that ends.
 */
export class Nanny {
  /** Resolves when the worker has ended and is not started again. */
  readonly ended: Promise<WorkerEnd>;
  readonly #options: NannyOptions;
  readonly #policy = new RestartPolicy();
  readonly #end = Promise.withResolvers<WorkerEnd>();
  #child: ChildProcess | undefined;
  #isLeaving = false;
  #isStopping = false;
  readonly #lifetimes: Lifetimes | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** How the last worker died, for the next to tell. */
  #death: (() => PreviousDeath) | null = null;

  constructor(options: NannyOptions) {
    this.#options = options;
    const { lifetime } = options.worker;
    this.#lifetimes = lifetime === undefined ? undefined : new Lifetimes(lifetime);
    this.ended = this.#end.promise;
  }

  /** Starts the worker. Returns at once. */
  start(): void {
    if (this.#isLeaving) return;
    const lifetime = this.#lifetimes?.next();
    if (lifetime === null) {
      this.#end.resolve({ exitCode: 0, reason: 'its lifetime is over' });
      return;
    }
    const { worker, spawnWorker = spawnWorkerProcess, logger, plugins } = this.#options;
    const env = plugins?.environment(process.env) ?? process.env;
    const previousDeath = this.#death?.() ?? null;
    const told = { ...worker, ...(lifetime && { lifetime }), previousDeath };
    const child = spawnWorker(told, env);
    if (plugins !== undefined) serveNannyPlugins(child, plugins);
    this.#child = child;
    const watch: Watch = { rssBytes: null, logTail: '', isKilledForMemory: false };
    // What it writes goes on to this process's own standard error, and the end of it is kept.
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      process.stderr.write(text);
      watch.logTail = (watch.logTail + text).slice(-LOG_TAIL_LENGTH);
    });
    const stopWatchingMemory = this.#watchMemory(child, watch);
    const stopWatchingLife = this.#watchLife(child);
    const stopWatching = (): void => {
      stopWatchingMemory();
      stopWatchingLife();
    };
    // The worker may be gone before what it is told arrives.
    child.stdin?.on('error', () => {});
    child.once('error', (error) => {
      stopWatching();
      this.#died(child, `could not be started: ${error.message}`);
    });
    child.once('exit', (code, signal) => {
      stopWatching();
      // The end of its log may still be on its way.
      const pid = child.pid ?? 0;
      this.#death = () => {
        const { rssBytes, logTail } = watch;
        return { pid, exitCode: code, signal, rssBytes, logTail };
      };
      this.#exited(child, code, signal, watch.isKilledForMemory);
    });
    logger.debug('started a worker process', { pid: child.pid });
  }

  /**
   * Asks the worker to end without loss, and sees to it that it ends. Until it has, `stop` ends it
   * at once. Idempotent.
   *
   * @param reason - What the nanny did or met, for the worker's log: `received SIGTERM`.
   */
  drain(reason: string): void {
    if (this.#isLeaving) return;
    const child = this.#child;
    if (child === undefined) {
      this.stop(reason);
      return;
    }
    this.#isLeaving = true;
    child.stdin?.write(`${DRAIN_WORD}${reason}\n`);
    const { drainTimeoutMs = DRAIN_TIMEOUT_MS } = this.#options.worker;
    this.#timer = setTimeout(() => child.kill('SIGKILL'), drainTimeoutMs + END_MS);
  }

  /**
   * Asks the worker to end, and sees to it that it does. Idempotent.
   *
   * @param reason - What the nanny did or met, for the worker's log: `received SIGTERM`.
   */
  stop(reason: string): void {
    if (this.#isStopping) return;
    this.#isStopping = true;
    this.#isLeaving = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === undefined) {
      this.#end.resolve({ exitCode: 0, reason });
      return;
    }
    child.stdin?.end(`${reason}\n`);
    this.#timer = setTimeout(() => child.kill('SIGKILL'), END_MS);
  }

  #exited(
    child: ChildProcess,
    code: number | null,
    signal: NodeJS.Signals | null,
    isKilledForMemory: boolean,
  ): void {
    if (this.#child !== child) return;
    const how = signal === null ? `exit code ${code}` : `signal ${signal}`;
    if (this.#isLeaving) {
      clearTimeout(this.#timer);
      this.#end.resolve({ exitCode: code ?? 1, reason: `the worker ended with ${how}` });
    } else if (code === 0 || code === 1 || code === 2) {
      // The worker decided to end, and said why.
      this.#end.resolve({ exitCode: code, reason: `the worker ended with ${how}` });
    } else if (code === EXIT_RESTART) this.#startAgain(child);
    else if (isKilledForMemory) this.#died(child, 'was killed for its memory', 'memory');
    else this.#died(child, `died with ${how}`);
  }

  /** It ended to be started again: that is no death. */
  #startAgain(child: ChildProcess): void {
    const { logger, isRestarting } = this.#options;
    this.#child = undefined;
    if (!isRestarting) {
      this.#end.resolve({ exitCode: EXIT_RESTART, reason: 'the worker wanted to be restarted' });
      return;
    }
    this.#death = null;
    logger.info('the worker restarts', { pid: child.pid });
    this.#timer = setTimeout(() => this.start(), RESTART_MS);
  }

  #died(child: ChildProcess, how: string, cause: DeathCause = 'crash'): void {
    if (this.#child !== child) return;
    this.#child = undefined;
    const { logger, isRestarting } = this.#options;
    const { pid } = child;
    if (!isRestarting || this.#isLeaving) {
      logger.error(`the worker ${how}`, { pid });
      this.#end.resolve({ exitCode: 1, reason: `the worker ${how}` });
      return;
    }
    const delayMs = this.#policy.died(performance.now(), cause);
    if (delayMs === null) {
      const often =
        cause === 'crash' ? 'the fifth time in a minute' : 'the 20th time in ten minutes';
      const reason = `the worker ${how}, for ${often}; not started again`;
      logger.error(reason, { pid });
      this.#end.resolve({ exitCode: 1, reason });
      return;
    }
    logger.warn(`the worker ${how}, starting another`, { pid, delayMs });
    this.#timer = setTimeout(() => this.start(), delayMs);
  }

  /** Kills a worker whose main thread is stuck: its scheduler has given it up long before. */
  #watchLife(child: ChildProcess): () => void {
    const { logger, frozenMs = FROZEN_MS } = this.#options;
    const onFrozen = (): void => {
      const time = formatDuration(frozenMs);
      logger.error(`the worker has given no sign of life for ${time}: killing it`, {
        pid: child.pid,
      });
      child.kill('SIGKILL');
    };
    return watchLife(child, { frozenMs, onFrozen });
  }

  /** Kills a worker that takes too much memory. Returns what ends the watch. */
  #watchMemory(child: ChildProcess, watch: Watch): () => void {
    const { logger, worker } = this.#options;
    const { pid } = child;
    const { memoryLimitBytes = null, memoryFractions = MEMORY_FRACTIONS } = worker;
    const { terminate } = memoryFractions;
    const mostBytes = terminate === 0 ? Infinity : terminate * (memoryLimitBytes ?? Infinity);
    if (pid === undefined) return () => {};
    const timer = setInterval(() => {
      const rssBytes = residentBytes(pid);
      if (rssBytes === undefined) return;
      watch.rssBytes = rssBytes;
      if (memoryLimitBytes === null || rssBytes < mostBytes) return;
      watch.isKilledForMemory = true;
      logger.error(
        `the worker takes ${formatBytes(rssBytes)} of memory, more than ` +
          `${terminate * 100}% of its limit ${formatBytes(memoryLimitBytes)}: killing it`,
        { pid },
      );
      clearInterval(timer);
      child.kill('SIGKILL');
    }, MEMORY_LOOK_MS);
    return () => clearInterval(timer);
  }
}

/** Starts a worker process under the flags of this one. */
function spawnWorkerProcess(
  { previousDeath, ...options }: WorkerProcessOptions,
  env: NodeJS.ProcessEnv,
): ChildProcess {
  const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
  const entry = fileURLToPath(new URL(`../worker-process.${extension}`, import.meta.url));
  return spawn(process.execPath, [...process.execArgv, entry, JSON.stringify(options)], {
    // Its standard input is its life line: the kernel closes it when this process is gone.
    stdio: ['pipe', 'inherit', 'pipe', 'ipc'],
    // What the worker says of plugins has bytes in it.
    serialization: 'advanced',
    // Not among the arguments, which everybody on this machine may read.
    env: withHugePages({
      ...env,
      [EXIT_WITH_STDIN]: '1',
      [PREVIOUS_DEATH]: JSON.stringify(previousDeath ?? null),
    }),
  });
}

import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';

import {
  dial,
  dialDataStream,
  FarmError,
  formatAddress,
  formatDuration,
  parseAddress,
  PROTOCOL_VERSION,
  silentLogger,
  type Connection,
  type Logger,
  type PeerMessage,
  type WorkerHello,
} from '@farm/protocol';
import { nanoid } from 'nanoid';

import { DEFAULT_SCHEDULER_PORT, findScheduler, type SchedulerTarget } from './find-scheduler.ts';
import { EXIT_RESTART } from './exit-restart.ts';
import { dialScheduler, livenessOf, resumeSession } from './dial-scheduler.ts';
import { Leaving } from './leaving.ts';
import { isElsewhere, outgoingHost } from './data/contact-host.ts';
import { DataServer } from './data/data-server.ts';
import type { OpenHostMemory } from './data/host-memory/host-memory.ts';
import { openHostMemory } from './data/host-memory/open-host-memory.ts';
import { visibleGpus } from './devices/visible-gpus.ts';
import { workerDevices } from './devices/worker-devices.ts';
import { Store } from './data/store.ts';
import {
  defaultLocalDirectory,
  makeLocalDirectory,
  type LocalDirectory,
} from './local-directory.ts';
import { commandSite, type CommandSite } from './executors/commands/command-site.ts';
import type { SchedulerContact } from './executors/executor.ts';
import { packageVersion } from './package-version.ts';
import { NannyLink } from './nanny/nanny-link.ts';
import { WorkerPlugins } from './plugins/worker-plugins.ts';
import { WorkerSession, type SessionEnd } from './session.ts';
import type { WorkerEnd } from './worker-end.ts';
import { DEATH_TIMEOUT_MS, type WorkerOptions } from './worker-options.ts';

/** One attempt to connect to a peer. Short, because the scheduler relays where there is no way. */
const PEER_CONNECT_MS = 3_000;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 1_000;
/** The longest time a timer of Node can count. */
const TIMER_MS_MAX = 2_147_483_647;

/** Exit code of a worker that ended by a bug of farm: its nanny starts another. */
export const EXIT_BROKEN = 70;

/**
 * A worker: connects to a scheduler, runs tasks in threads and processes of its own, keeps their
 * results and serves them to other workers. When the connection is lost it goes on with its runs and
 * results for as long as the scheduler waits for it; after that it starts over with an empty store,
 * until the death timeout.
 *
 * @example
 * await using worker = new Worker({ schedulerFile: 'scheduler.json', nthreads: 2 });
 * await worker.start();
 * const { reason } = await worker.ended;
 */
export class Worker implements AsyncDisposable {
  readonly name: string;
  /** Resolves when the worker has ended, for whatever reason. */
  readonly ended: Promise<WorkerEnd>;
  readonly #options: WorkerOptions;
  readonly #logger: Logger;
  readonly #openHostMemory: OpenHostMemory;
  readonly #incarnation = nanoid();
  readonly #end = Promise.withResolvers<WorkerEnd>();
  readonly #leaving = new Leaving();
  readonly #connected = Promise.withResolvers<void>();
  #commandSite: CommandSite = {};
  #directory: LocalDirectory | undefined;
  #plugins: WorkerPlugins | undefined;
  #data: DataServer | undefined;
  #session: WorkerSession | undefined;
  #store = new Store();
  #hasConnected = false;
  /** When the last session lost its scheduler; null while it has it. */
  #lostAtMs: number | null = null;
  #isStarted = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
    this.#openHostMemory = options.hostMemory === false ? () => undefined : openHostMemory;
    this.name = options.name ?? defaultWorkerName();
    this.ended = this.#end.promise;
    // Whoever did not ask for the first connection need not hear that there was none.
    this.#connected.promise.catch(() => {});
  }

  /**
   * Connects. Resolves at the first connection.
   *
   * @throws FarmError what the worker ended with, where it ended before.
   */
  async start(): Promise<void> {
    if (!this.#isStarted) {
      this.#isStarted = true;
      void this.#live();
    }
    return this.#connected.promise;
  }

  /** Where peers reach this worker's results; null while it is not connected. */
  get address(): string | null {
    return this.#data?.address ?? null;
  }

  /** Whether it is ending and waits for plugins to be torn down, which may take 30 s. */
  get isTearingDown(): boolean {
    return this.#plugins?.isTearingDown === true;
  }

  /**
   * Takes no more runs, ends those it executes, has what only it holds copied to other workers, and
   * leaves then. Until it has left, `close` ends it at once. Idempotent.
   *
   * @param restart - Whether its nanny is to start another; called off by a later call without.
   */
  drain(reason: string, restart: boolean = false): void {
    if (this.#leaving.signal.aborted) return;
    this.#leaving.drain(reason, restart);
    if (this.#session !== undefined) this.#session.askDrain(reason, restart);
    else this.#leaving.endDrain(reason);
    if (!this.#isStarted) this.#end.resolve({ exitCode: 0, reason });
  }

  /** Hands back what was not started, ends everything else, leaves. Idempotent. */
  async close(reason: string = 'closed'): Promise<void> {
    this.#leaving.close(reason);
    if (!this.#isStarted) this.#end.resolve({ exitCode: 0, reason });
    this.#session?.askClose(reason);
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #live(): Promise<void> {
    let end: WorkerEnd;
    try {
      const { localDirectory = defaultLocalDirectory() } = this.#options;
      this.#directory = makeLocalDirectory(localDirectory, this.name);
      this.#commandSite = await commandSite(this.#options.commands, this.#directory.path);
      end = await this.#serve(await this.#setUpPlugins(this.#directory.path));
    } catch (error) {
      end = this.#leaving.closed() ?? { exitCode: 1, reason: messageOf(error) };
      this.#connected.reject(error);
    }
    try {
      await this.#session?.close();
      await this.#data?.close();
      await this.#plugins?.close();
      this.#directory?.remove();
    } catch (error) {
      this.#logger.warn('could not clean up', { error });
    }
    this.#end.resolve(end);
  }

  async #setUpPlugins(localDirectory: string): Promise<WorkerPlugins> {
    const { nthreads, resources = [], preload = [], preloadArgv = [], nanny } = this.#options;
    // Also for what tasks start, wherever that runs.
    process.env['FARM_LOCAL_DIRECTORY'] = localDirectory;
    const plugins = new WorkerPlugins({
      worker: { name: this.name, address: null, localDirectory, nthreads, resources },
      logger: this.#logger,
      nanny: nanny === true ? NannyLink.open(this.name) : undefined,
      environmentChanged: (changes) => this.#session?.setEnvironment(changes),
    });
    this.#plugins = plugins;
    await plugins.preload(preload, preloadArgv, this.#leaving.signal);
    return plugins;
  }

  /** Session after session, until one ends on purpose or there is no scheduler any more. */
  async #serve(plugins: WorkerPlugins): Promise<WorkerEnd> {
    for (;;) {
      const session = await this.#connect(plugins);
      this.#session = session;
      // It may have been asked to close while it connected.
      const { closeReason } = this.#leaving;
      if (closeReason !== undefined) session.askClose(closeReason);
      const end = await session.ended;
      this.#session = undefined;
      await session.close();
      if (end.how === 'exit') {
        return { exitCode: end.restart === true ? EXIT_RESTART : 0, reason: end.reason };
      }
      const left = this.#leaving.closed() ?? this.#leaving.drained();
      if (left !== undefined) return left;
      if (end.how === 'broken') {
        this.#logger.error('a bug of farm, please report it', { error: end.why });
        return { exitCode: EXIT_BROKEN, reason: messageOf(end.why) };
      }
      this.#logger.warn('lost the scheduler, starting over with nothing', reasonOf(end));
      plugins.forgetRegistered();
    }
  }

  #withoutSchedulerMs(): number {
    return this.#lostAtMs === null ? 0 : performance.now() - this.#lostAtMs;
  }

  /** Tries to connect until it works, is hopeless, or the death timeout is over. */
  async #connect(plugins: WorkerPlugins): Promise<WorkerSession> {
    const { deathTimeoutMs = DEATH_TIMEOUT_MS } = this.#options;
    const deadline = new AbortController();
    const leftMs = Math.max(0, deathTimeoutMs - this.#withoutSchedulerMs());
    const timer = setTimeout(() => deadline.abort(), Math.min(leftMs, TIMER_MS_MAX));
    const signal = AbortSignal.any([deadline.signal, this.#leaving.signal]);
    let last: unknown;
    try {
      for (let retryMs = RETRY_MS_MIN; ; retryMs = Math.min(RETRY_MS_MAX, retryMs * 1.5)) {
        try {
          return await this.#connectOnce(signal, plugins);
        } catch (error) {
          signal.throwIfAborted();
          if (!this.#isWorthRetrying(error)) throw error;
          if (messageOf(error) !== messageOf(last)) {
            this.#logger.warn('no scheduler yet, trying again', { error: messageOf(error) });
          }
          last = error;
        }
        await pause(retryMs, signal);
      }
    } catch (error) {
      if (this.#leaving.signal.aborted || !deadline.signal.aborted) throw error;
      const { schedulerFile } = this.#options;
      const waited = schedulerFile === undefined ? '' : `: ${resolve(schedulerFile)} is not there`;
      const cause = last === undefined ? waited : `: ${messageOf(last)}`;
      throw new FarmError(
        'ERR_CONNECT',
        `no scheduler for ${formatDuration(deathTimeoutMs)} (--death-timeout)${cause}`,
        { cause: last },
      );
    } finally {
      clearTimeout(timer);
    }
  }

  async #connectOnce(signal: AbortSignal, plugins: WorkerPlugins): Promise<WorkerSession> {
    const { nthreads, resources = [], memoryLimitBytes = null, nanny = false } = this.#options;
    const { devices = workerDevices({ amounts: resources, devices: [] }, null) } = this.#options;
    const { gpuVendor = 'auto' } = this.#options;
    const target = await findScheduler(this.#options, signal, this.#logger);
    const data = await this.#serveData(target);
    const hello: WorkerHello = {
      op: 'hello',
      role: 'worker',
      protocol: PROTOCOL_VERSION,
      version: packageVersion(),
      // The scheduler knows a session by it; nothing of an earlier one is left.
      incarnation: nanoid(),
      name: this.name,
      nthreads,
      resources,
      devices: devices.map(({ name }) => name),
      memoryLimitBytes,
      address: data.address,
      host: hostname(),
      pid: process.pid,
      localDirectory: this.#directory?.path ?? '',
      nanny,
      previousDeath: this.#options.previousDeath ?? null,
    };
    const { connection, welcome } = await dialScheduler(target, {
      signal,
      logger: this.#logger,
      hello,
      ...livenessOf(this.#options.heartbeatTimeoutMs),
    });
    this.#lostAtMs = null;
    plugins.moveTo(data.address);
    this.#store = new Store(
      this.#directory === undefined ? null : join(this.#directory.path, 'spill'),
    );
    const session = new WorkerSession({
      connection,
      heartbeatMs: welcome.heartbeatMs,
      name: this.name,
      functionsIn: this.#options.executor ?? 'threads',
      commandSite: this.#commandSite,
      scheduler: contactOf(this.#options),
      address: data.address,
      nthreads,
      slotCpus: this.#options.slotCpus,
      devices,
      gpus: visibleGpus(gpuVendor, { ...process.env, ...this.#commandSite.variables }),
      memoryLimitBytes,
      memoryFractions: this.#options.memoryFractions,
      taskCgroup: this.#options.taskCgroup,
      store: this.#store,
      reconnect: () => {
        this.#lostAtMs = performance.now();
        return resumeSession({
          hint: this.#options,
          hello,
          token: target.token,
          connection,
          leaseMs: Math.min(welcome.leaseMs, this.#options.deathTimeoutMs ?? DEATH_TIMEOUT_MS),
          heartbeatTimeoutMs: this.#options.heartbeatTimeoutMs,
          signal: this.#leaving.signal,
          logger: this.#logger,
          onResumed: () => {
            this.#lostAtMs = null;
          },
        });
      },
      dialPeer: (address) => this.#dialPeer(address, target.token),
      dialStream: (address, reader) => {
        return dialDataStream({
          address: parseAddress(address, { defaultPort: DEFAULT_SCHEDULER_PORT }),
          token: target.token,
          timeoutMs: PEER_CONNECT_MS,
          signal: this.#leaving.signal,
          isLocal: !isElsewhere(address),
          ...reader,
        });
      },
      openHostMemory: this.#openHostMemory,
      memoryFiles: this.#options.hostMemory !== false,
      isElsewhere,
      plugins,
      logger: this.#logger,
      output: this.#options.output ?? writeOut,
    });
    this.#hasConnected = true;
    this.#logger.info(`worker ${this.name} connected to ${formatAddress(target.address)}`, {
      nthreads,
      data: data.address,
    });
    this.#connected.resolve();
    return session;
  }

  /** The data server, made anew where the scheduler has another token. */
  async #serveData(target: SchedulerTarget): Promise<DataServer> {
    if (this.#data?.token === target.token) return this.#data;
    await this.#data?.close();
    const { host: asked, ports = [0] } = this.#options;
    const outgoing = await outgoingHost(target.address.host);
    const host = asked ?? outgoing;
    const isEverywhere = host === '' || host === '0.0.0.0' || host === '::';
    this.#data = await DataServer.listen({
      host,
      ports,
      contactHost: isEverywhere ? outgoing : host,
      token: target.token,
      workerName: this.name,
      version: packageVersion(),
      id: this.#incarnation,
      localDirectory: this.#directory?.path,
      store: () => this.#store,
      openHostMemory: this.#openHostMemory,
      logger: this.#logger,
    });
    return this.#data;
  }

  async #dialPeer(address: string, token: string): Promise<Connection<PeerMessage, PeerMessage>> {
    const { connection } = await dial({
      address: parseAddress(address, { defaultPort: DEFAULT_SCHEDULER_PORT }),
      role: 'peer',
      token,
      timeoutMs: PEER_CONNECT_MS,
      signal: this.#leaving.signal,
      logger: this.#logger,
      hello: {
        op: 'hello',
        role: 'peer',
        protocol: PROTOCOL_VERSION,
        version: packageVersion(),
        incarnation: this.#incarnation,
        name: this.name,
      },
    });
    return connection;
  }

  /** Whether trying again may help, without anybody changing anything. */
  #isWorthRetrying(error: unknown): boolean {
    if (!(error instanceof FarmError)) return false;
    switch (error.code) {
      case 'ERR_CONNECT':
      case 'ERR_TIMEOUT':
      case 'ERR_LIMIT':
      case 'ERR_CLOSED':
      case 'ERR_CONNECTION_LOST':
        return true;
      case 'ERR_UNAUTHORIZED':
      case 'ERR_SCHEDULER_FILE':
        // A stale file is replaced when the scheduler starts.
        return this.#options.schedulerFile !== undefined;
      default:
        // A scheduler that has not noticed yet that this worker's connection broke refuses its name.
        return this.#hasConnected && error.code !== 'ERR_VERSION' && error.code !== 'ERR_ADDRESS';
    }
  }
}

/** What a client in a task is told of the scheduler; its token it finds by itself. */
function contactOf({ schedulerFile, address }: WorkerOptions): SchedulerContact | undefined {
  if (schedulerFile !== undefined) return { schedulerFile: resolve(schedulerFile) };
  return address === undefined ? undefined : { address };
}

/** Names this process. Containers may have one host name and process id, so chance is added. */
export function defaultWorkerName(): string {
  return `${hostname()}-${process.pid}-${randomBytes(3).toString('hex')}`;
}

/** Standard streams take whole lines in one write, so that lines of several processes stay whole. */
function writeOut(stream: 'stdout' | 'stderr', text: string): void {
  process[stream].write(text);
}

function reasonOf(end: SessionEnd): { readonly reason: string } {
  return { reason: end.how === 'exit' ? end.reason : messageOf(end.why) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

async function pause(delayMs: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, delayMs);
  const stop = (): void => reject(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
}

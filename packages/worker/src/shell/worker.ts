import { randomBytes } from 'node:crypto';
import { hostname } from 'node:os';
import { join, resolve } from 'node:path';

import {
  dial,
  dialDataStream,
  FarmError,
  formatAddress,
  formatDuration,
  livenessTimes,
  parseAddress,
  PROTOCOL_VERSION,
  reconnect,
  silentLogger,
  type Connection,
  type Dialed,
  type DialOptions,
  type FunctionExecutor,
  type Logger,
  type PeerMessage,
  type PreviousDeath,
  type ResourceAmounts,
  type WorkerHello,
} from '@farm/protocol';
import { nanoid } from 'nanoid';

import { DEFAULT_SCHEDULER_PORT, findScheduler, type SchedulerTarget } from './find-scheduler.ts';
import { EXIT_RESTART } from './exit-restart.ts';
import { isElsewhere, outgoingHost } from './data/contact-host.ts';
import { DataServer } from './data/data-server.ts';
import { visibleGpus, type GpuVendor } from './devices/visible-gpus.ts';
import { workerDevices } from './devices/worker-devices.ts';
import type { DeviceResource, MemoryFractions } from '../core/index.ts';
import { Store } from './data/store.ts';
import {
  defaultLocalDirectory,
  makeLocalDirectory,
  type LocalDirectory,
} from './local-directory.ts';
import {
  commandSite,
  type CommandsOptions,
  type CommandSite,
} from './executors/commands/command-site.ts';
import type { SchedulerContact } from './executors/executor.ts';
import { packageVersion } from './package-version.ts';
import { NannyLink } from './nanny/nanny-link.ts';
import { WorkerPlugins } from './plugins/worker-plugins.ts';
import { WorkerSession, type SessionEnd } from './session.ts';

/** One attempt to connect to the scheduler may take this long. */
const CONNECT_MS = 10_000;
/** One attempt to connect to a peer. Short, because the scheduler relays where there is no way. */
const PEER_CONNECT_MS = 3_000;
const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 1_000;
/** The longest time a timer of Node can count. */
const TIMER_MS_MAX = 2_147_483_647;

/** Exit code of a worker that ended by a bug of farm: its nanny starts another. */
export const EXIT_BROKEN = 70;

/** Options of {@link Worker}. */
export interface WorkerOptions {
  /** The scheduler's address. Exactly one of this and `schedulerFile` is given. */
  readonly address?: string;
  /** The file a scheduler writes; it may appear later than the worker starts. */
  readonly schedulerFile?: string;
  /**
   * The workers' token, with `address`.
   * @default the environment variable FARM_TOKEN, else the credential file the scheduler left for
   * its own user on this host
   */
  readonly token?: string;
  /** Execution slots. */
  readonly nthreads: number;
  /**
   * What functions run in that do not ask for one themselves: threads of this process, or child
   * processes, which faults of native code do not take the worker down with.
   * @default 'threads'
   */
  readonly executor?: FunctionExecutor;
  /** @default host name, process id and a random end */
  readonly name?: string;
  /** @default none */
  readonly resources?: ResourceAmounts;
  /**
   * Which resources stand for devices, of which tasks learn the ones they are granted.
   * @default a resource `GPU` for the GPUs from the first on
   */
  readonly devices?: readonly DeviceResource[];
  /**
   * CPUs that the tasks of each slot are bound to, as `taskset` takes them: `['0-1', '2-3']`.
   * @default none
   */
  readonly slotCpus?: readonly string[];
  /** By whose variable GPUs are selected. @default 'auto', as the environment and drivers tell */
  readonly gpuVendor?: GpuVendor | 'auto';
  /**
   * Resident memory of the process: results are spilled to files and tasks refused before it is
   * reached, and a nanny kills a process that comes close to it all the same.
   * @default null (no limit)
   */
  readonly memoryLimitBytes?: number | null;
  /** At which parts of the limit that happens. @default 0.6, 0.7, 0.8 and 0.95, as in Dask */
  readonly memoryFractions?: MemoryFractions;
  /**
   * Directory of a control group below which tasks that ask for memory get one each.
   * @default the worker's own group, where none can be made there none
   */
  readonly taskCgroup?: string;
  /** @default a directory for this user in the system's directory for temporary files */
  readonly localDirectory?: string;
  /** Modules of plugins, which are set up before it connects. @default none */
  readonly preload?: readonly string[];
  /** For the functions that these modules export. @default none */
  readonly preloadArgv?: readonly string[];
  /** What is put around commands, and where their output is streamed to. @default nothing */
  readonly commands?: CommandsOptions;
  /**
   * How long to go on without a scheduler, at the start and after it was lost.
   * @default 300_000
   */
  readonly deathTimeoutMs?: number;
  /**
   * A scheduler that is silent for this long has lost its connection.
   * @default 15_000
   */
  readonly heartbeatTimeoutMs?: number;
  /**
   * Address of this machine to serve results on; `0.0.0.0` for all.
   * @default the one that reaches the scheduler
   */
  readonly host?: string;
  /**
   * Ports to serve results on, tried in turn.
   * @default [0] (any free one)
   */
  readonly ports?: readonly number[];
  /** Whether a nanny watches this process. @default false */
  readonly nanny?: boolean;
  /** How the process before this one died, as its nanny says. @default null */
  readonly previousDeath?: PreviousDeath | null;
  /** @default silentLogger */
  readonly logger?: Logger;
  /** Takes what tasks write. @default this process's own stdout and stderr */
  readonly output?: (stream: 'stdout' | 'stderr', text: string) => void;
}

/** How a worker ended. */
export interface WorkerEnd {
  /** For the process: 0 on purpose, 1 for a reason that starting again does not cure. */
  readonly exitCode: number;
  readonly reason: string;
}

/** The default of {@link WorkerOptions.deathTimeoutMs}: five minutes. */
export const DEATH_TIMEOUT_MS = 300_000;

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
  readonly #incarnation = nanoid();
  readonly #end = Promise.withResolvers<WorkerEnd>();
  readonly #closing = new AbortController();
  readonly #connected = Promise.withResolvers<void>();
  #commandSite: CommandSite = {};
  #directory: LocalDirectory | undefined;
  #plugins: WorkerPlugins | undefined;
  #data: DataServer | undefined;
  #session: WorkerSession | undefined;
  #draining: { readonly reason: string; readonly restart: boolean } | undefined;
  #store = new Store();
  #hasConnected = false;
  /** When the last session lost its scheduler; null while it has it. */
  #lostAtMs: number | null = null;
  #isStarted = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.#logger = options.logger ?? silentLogger;
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
    if (this.#closing.signal.aborted) return;
    this.#draining = { reason, restart: restart && this.#draining?.restart !== false };
    if (this.#session !== undefined) this.#session.askDrain(reason, restart);
    else this.#closing.abort(new FarmError('ERR_CLOSED', reason));
    if (!this.#isStarted) this.#end.resolve({ exitCode: 0, reason });
  }

  /** Hands back what was not started, ends everything else, leaves. Idempotent. */
  async close(reason: string = 'closed'): Promise<void> {
    this.#draining = undefined;
    this.#closing.abort(new FarmError('ERR_CLOSED', reason));
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
      const { signal } = this.#closing;
      end = signal.aborted
        ? this.#left(messageOf(signal.reason))
        : { exitCode: 1, reason: messageOf(error) };
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
    await plugins.preload(preload, preloadArgv, this.#closing.signal);
    return plugins;
  }

  /** Session after session, until one ends on purpose or there is no scheduler any more. */
  async #serve(plugins: WorkerPlugins): Promise<WorkerEnd> {
    for (;;) {
      const session = await this.#connect(plugins);
      this.#session = session;
      // It may have been asked to close while it connected.
      if (this.#closing.signal.aborted) session.askClose(messageOf(this.#closing.signal.reason));
      const end = await session.ended;
      this.#session = undefined;
      await session.close();
      if (end.how === 'exit') {
        return { exitCode: end.restart === true ? EXIT_RESTART : 0, reason: end.reason };
      }
      if (this.#closing.signal.aborted) {
        return this.#left(messageOf(this.#closing.signal.reason));
      }
      if (this.#draining !== undefined) return this.#left(this.#draining.reason);
      if (end.how === 'broken') {
        this.#logger.error('a bug of farm, please report it', { error: end.why });
        return { exitCode: EXIT_BROKEN, reason: messageOf(end.why) };
      }
      this.#logger.warn('lost the scheduler, starting over with nothing', reasonOf(end));
      plugins.forgetRegistered();
    }
  }

  /** It has ended since it was asked to. */
  #left(reason: string): WorkerEnd {
    return { exitCode: this.#draining?.restart === true ? EXIT_RESTART : 0, reason };
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
    const signal = AbortSignal.any([deadline.signal, this.#closing.signal]);
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
      if (this.#closing.signal.aborted || !deadline.signal.aborted) throw error;
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
        return this.#resume({ hello, token: target.token, connection, leaseMs: welcome.leaseMs });
      },
      dialPeer: (address) => this.#dialPeer(address, target.token),
      dialStream: (address, reader) => {
        return dialDataStream({
          address: parseAddress(address, { defaultPort: DEFAULT_SCHEDULER_PORT }),
          token: target.token,
          timeoutMs: PEER_CONNECT_MS,
          signal: this.#closing.signal,
          isLocal: !isElsewhere(address),
          ...reader,
        });
      },
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

  /** Goes on with a session whose socket was lost, while the scheduler waits for that. */
  async #resume(session: LostSession): Promise<void> {
    const { hello, token, connection, leaseMs } = session;
    const { deathTimeoutMs = DEATH_TIMEOUT_MS, heartbeatTimeoutMs } = this.#options;
    await reconnect(connection, {
      leaseMs: Math.min(leaseMs, deathTimeoutMs),
      signal: this.#closing.signal,
      dial: async (signal) => {
        const target = await findScheduler(this.#options, signal, silentLogger);
        if (target.token !== token) {
          throw new FarmError('ERR_CONNECTION_LOST', `another scheduler is there (${target.from})`);
        }
        await dialScheduler(target, {
          signal,
          logger: this.#logger,
          hello,
          resume: connection,
          ...livenessOf(heartbeatTimeoutMs),
        });
        this.#lostAtMs = null;
      },
    });
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
      signal: this.#closing.signal,
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

interface LostSession {
  readonly hello: WorkerHello;
  readonly token: string;
  readonly connection: Dialed<'worker'>['connection'];
  readonly leaseMs: number;
}

function livenessOf(deadMs: number | undefined): Pick<DialOptions<'worker'>, 'liveness'> {
  return deadMs === undefined ? {} : { liveness: livenessTimes(deadMs) };
}

/** Dials, and says where the address is known from if that fails: a file may be of long ago. */
async function dialScheduler(
  target: SchedulerTarget,
  options: Pick<DialOptions<'worker'>, 'hello' | 'signal' | 'logger' | 'liveness' | 'resume'>,
): Promise<Dialed<'worker'>> {
  const { address, token, from } = target;
  try {
    return await dial({ ...options, address, token, role: 'worker', timeoutMs: CONNECT_MS });
  } catch (error) {
    if (!(error instanceof FarmError)) throw error;
    throw new FarmError(error.code, `${error.message} (${from})`, { cause: error });
  }
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

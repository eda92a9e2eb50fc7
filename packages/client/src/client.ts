import { inspect } from 'node:util';

import { FarmError, formatBytes } from '@farm/protocol';
import type {
  AdaptiveTarget,
  Explanation,
  GroupInfo,
  HasWhat,
  Replicated,
  Retired,
  SchedulerInfo,
  SpanInfo,
  StoryEntry,
  WhoHas,
} from '@farm/protocol';
import { EventEmitter } from 'eventemitter3';

import {
  type CheckedTarget,
  type ClientOptions,
  type ClientTarget,
  checkTarget,
} from './client-options.ts';
import { connectTo } from './connect.ts';
import { Deadline } from './deadline.ts';
import {
  type RebalanceOptions,
  type ReplicateOptions,
  type RetireOptions,
  hasWhat,
  rebalance,
  replicate,
  retireWorkers,
  whoHas,
} from './cluster-data.ts';
import type { ModuleReference } from './functions/module-function.ts';
import type { Future } from './future.ts';
import { atAwaiter, atCaller } from './caller.ts';
import { type GatherOptions, gather } from './gather.ts';
import { type ScatterOptions, scatter } from './scatter.ts';
import { type RegisterPluginOptions, pluginParams } from './plugin-module.ts';
import { Session } from './session.ts';
import { Submitter } from './submitter.ts';
import { spanPath } from './task-options.ts';
import {
  PluginDefinition,
  type Uploaded,
  uploadPlugin,
  workerPluginParams,
} from './worker-plugins.ts';
import type { Gathered, GatheredSkipping } from './types.ts';

/** What a client emits. */
export interface ClientEvents {
  /** The connection stands. */
  connected: [info: SchedulerInfo];
  /**
   * The connection is lost, and is being brought back: what is pending stays so. `reconnected`
   * follows, or `closed`.
   */
  disconnected: [why: FarmError];
  /** It is back, and nothing was lost. */
  reconnected: [];
  /** The client has ended: it was closed, or could not connect, or lost its connection. */
  closed: [why: FarmError];
}

/** How to wait for workers. */
export interface WaitForWorkersOptions {
  /**
   * Milliseconds until it is given up with `ERR_TIMEOUT`.
   * @default no limit
   */
  readonly timeoutMs?: number;
}

/**
 * The way to a cluster: submits tasks, gets results.
 *
 * Making one begins to connect and returns at once; what is submitted meanwhile waits. If the
 * connection cannot be made, or is lost, every result that is waited for rejects with the reason.
 * A program ends by itself although its client is open, as soon as nothing is waited for.
 *
 * @example
 * await using client = new Client({ schedulerFile: 'scheduler.json' });
 * const squares = client.map((x: number) => x ** 2, [0, 1, 2, 3]);
 * console.log(await client.gather(squares)); // [0, 1, 4, 9]
 */
export class Client extends Submitter implements AsyncDisposable {
  readonly #session: Session;
  readonly #events: EventEmitter<ClientEvents>;
  readonly #target: string;
  readonly #closeOwnCluster: () => Promise<void>;
  #info: SchedulerInfo | undefined;
  #closing: Promise<void> | undefined;

  /**
   * @param target - An address (`tcp://host:port`), `{ schedulerFile }` or other options, a cluster,
   *   or nothing: then a local cluster is started, and ended by `close()`.
   * @throws FarmError `ERR_ARGUMENT` or `ERR_ADDRESS` for a target that cannot be one.
   */
  constructor(target?: ClientTarget, options?: ClientOptions) {
    const checked = checkedTarget(target, options);
    const { connect, closeOwnCluster } = connectTo(checked);
    const events = new EventEmitter<ClientEvents>();
    const session = new Session(connect, {
      connected: (info) => {
        this.#info = info;
        events.emit('connected', info);
      },
      disconnected: (why) => events.emit('disconnected', why),
      reconnected: () => events.emit('reconnected'),
      ended: (why) => events.emit('closed', why),
    });
    super(session, {});
    this.#session = session;
    this.#events = events;
    this.#target = checked.address ?? checked.schedulerFile ?? 'a local cluster';
    this.#closeOwnCluster = closeOwnCluster;
  }

  /** Calls `listener` at each event. Returns a function that stops it. */
  on<E extends keyof ClientEvents>(
    event: E,
    listener: (...args: ClientEvents[E]) => void,
  ): () => void {
    // SAFE: the emitter's own listener type is this one, spelled through a conditional type.
    const plain = listener as EventEmitter.EventListener<ClientEvents, E>;
    this.#events.on(event, plain);
    return () => this.#events.off(event, plain);
  }

  /**
   * Resolves once connected.
   *
   * @throws FarmError why it cannot connect: `ERR_CONNECT`, `ERR_UNAUTHORIZED`, `ERR_VERSION`,
   *   `ERR_SCHEDULER_FILE`, … or `ERR_CLOSED`.
   */
  async ready(): Promise<void> {
    try {
      await this.#session.ready();
      this.#session.assertOpen();
    } catch (error) {
      throw await atAwaiter(copyOf(error), Client.prototype, 'ready');
    }
  }

  /**
   * Waits for all futures inside nested arrays, objects, Maps and Sets, and gives the same
   * containers with their results.
   *
   * @throws What the first failed task threw, unless `errors` is `'skip'`.
   *
   * @example
   * await client.gather({ mean: future, parts: [one, two] }); // { mean: 3, parts: [1, 5] }
   */
  gather<T>(nested: T, options?: { readonly errors?: 'raise' }): Promise<Gathered<T>>;
  gather<T>(nested: T, options: { readonly errors: 'skip' }): Promise<GatheredSkipping<T>>;
  async gather<T>(
    nested: T,
    options: GatherOptions = {},
  ): Promise<Gathered<T> | GatheredSkipping<T>> {
    try {
      return await gather(nested, options);
    } catch (error) {
      throw await atAwaiter(error, Client.prototype, 'gather');
    }
  }

  /** The scheduler's address, workers and counts of tasks, as they are now. */
  async schedulerInfo(): Promise<SchedulerInfo> {
    this.#info = await this.#session.ask('scheduler-info', null);
    return this.#info;
  }

  /**
   * Waits until at least `count` workers are connected. Tasks may be submitted before: they wait.
   *
   * @returns How many there are.
   * @throws FarmError `ERR_TIMEOUT`
   */
  async waitForWorkers(count: number, options: WaitForWorkersOptions = {}): Promise<number> {
    if (!Number.isSafeInteger(count) || count < 0) {
      throw new FarmError(
        'ERR_ARGUMENT',
        `waitForWorkers: ${String(count)} is not a number of workers`,
      );
    }
    const workers = count === 1 ? '1 worker' : `${count} workers`;
    try {
      using deadline = new Deadline(options, () => `${workers} did not connect`);
      const present = await deadline.race(this.#session.ask('wait-for-workers', { count }));
      await deadline.race(this.schedulerInfo());
      return present;
    } catch (error) {
      throw await atAwaiter(error, Client.prototype, 'waitForWorkers');
    }
  }

  /** Says why a task is where it is, and for each worker why it does not run there. */
  async explain(task: Future | string): Promise<Explanation> {
    return this.#session.ask('explain', { key: keyOf(task) });
  }

  /** What happened to a task, oldest first, as far as the scheduler remembers. */
  async story(task: Future | string): Promise<readonly StoryEntry[]> {
    return this.#session.ask('story', { key: keyOf(task) });
  }

  /**
   * Hands values to workers, for tasks to use: an array gives a future for each element, anything
   * else one future. They have no lineage: when the last worker that holds one is lost, its future
   * and what depends on it fail with `ERR_LOST_DATA`.
   *
   * @throws FarmError `ERR_VALUE` where a value cannot travel, `ERR_LIMIT` where one is too large.
   *
   * @example
   * const table = client.scatter({ a: 1 }, { broadcast: true });
   * const results = client.map(look, keys, keys.map(() => table));
   */
  scatter<T>(values: readonly T[], options?: ScatterOptions): Future<T>[];
  scatter<T>(value: T, options?: ScatterOptions): Future<T>;
  scatter(value: unknown, options?: ScatterOptions): Future | Future[] {
    try {
      if (Array.isArray(value)) return scatter<unknown>(this.#session, value, options);
      const [future] = scatter<unknown>(this.#session, [value], options);
      if (future === undefined) throw new FarmError('ERR_INTERNAL', 'a value has no future');
      return future;
    } catch (error) {
      throw atCaller(error, Client.prototype, 'scatter');
    }
  }

  /**
   * Copies results to more workers, or drops copies above `n`. Resolves when that is done; the
   * number of copies stays wanted.
   */
  async replicate(futures: readonly Future[], options: ReplicateOptions = {}): Promise<Replicated> {
    return replicate(this.#session, futures, options);
  }

  /** Moves results from the fullest workers to the emptiest. Resolves when that is done. */
  async rebalance(options: RebalanceOptions = {}): Promise<Replicated> {
    return rebalance(this.#session, options);
  }

  /** For each future its key and the workers that hold its result. */
  async whoHas(futures: readonly Future[]): Promise<WhoHas> {
    return whoHas(this.#session, futures);
  }

  /** For each worker (of these names, addresses or hosts) the keys of the results it holds. */
  async hasWhat(workers?: string | readonly string[]): Promise<HasWhat> {
    return hasWhat(this.#session, workers);
  }

  /**
   * Lets workers go without loss: they get no new tasks, their running tasks end, what only they
   * hold is copied to others, then they are closed. A worker whose data nobody can take goes on as
   * before. Resolves when all are gone or kept.
   *
   * @throws FarmError `ERR_ARGUMENT`
   *
   * @example
   * const { retired, kept } = await client.retireWorkers({ workers: ['w-1', 'w-2'] });
   */
  async retireWorkers(options: RetireOptions): Promise<Retired> {
    return retireWorkers(this.#session, options);
  }

  /**
   * How many workers would do what is ready and running within `targetDurationMs`, in all and for
   * each distinct requirement.
   *
   * @param coolDownMs - The number of workers in all is the largest that this client was told in
   *   this time: it rises at once and falls late, so that a short lull closes no workers.
   */
  async adaptiveTarget(
    targetDurationMs: number = 5_000,
    coolDownMs: number = 15_000,
  ): Promise<AdaptiveTarget> {
    return this.#session.ask('adaptive-target', { targetDurationMs, coolDownMs });
  }

  /** Names of up to `count` workers that are best closed; none with a long task is among them. */
  async workersToClose(count: number): Promise<readonly string[]> {
    return this.#session.ask('workers-to-close', { count });
  }

  /**
   * How far the parts of the work are that `with({ span })` named: tasks by state, when each began
   * and ended, and how long its tasks have run.
   *
   * @param span - Only this one and those inside it. Default: all.
   */
  async spans(span?: string | readonly string[]): Promise<readonly SpanInfo[]> {
    return this.#session.ask('spans', { path: spanPath(span) });
  }

  /**
   * How far each `map` has come, and all that `submit` was given of each function: tasks by state,
   * bytes in memory, time taken. The latest first, at most 1000.
   *
   * @param keys - Only these: keys of `map`s, or names of functions. Default: all.
   */
  async groups(keys: readonly string[] = []): Promise<readonly GroupInfo[]> {
    return this.#session.ask('groups', { keys });
  }

  /**
   * Gives all workers a plugin, those that join later too. Resolves once it is set up on all that
   * are there; they go on with their tasks meanwhile. A worker that joins later runs no task before
   * it has set it up.
   *
   * @param plugin - made by `workerPlugin`, `environmentPlugin`, `archivePlugin` and their like.
   * @returns Whether there was no plugin of that name before.
   * @throws FarmError `ERR_PLUGIN` where it could not be set up on some worker, which the message
   *   names: then it is taken back from all; `ERR_LIMIT` where it is too large.
   *
   * @example
   * await client.registerPlugin(environmentPlugin({ OMP_NUM_THREADS: '1' }));
   */
  async registerPlugin(plugin: PluginDefinition): Promise<boolean>;
  /**
   * Has the scheduler load a plugin: a module of its host whose default export is a
   * `SchedulerPlugin`, or a function that makes one. A plugin stays until it is unregistered or the
   * scheduler ends.
   *
   * @param module - `new URL('./plugin.ts', import.meta.url)`, an absolute path, or the name of a
   *   package; found by the scheduler, so on a file system that it sees.
   * @returns Whether it is new; false where the same module is there under that name.
   * @throws FarmError `ERR_ARGUMENT` where it cannot be loaded or started, or the name is taken.
   */
  async registerPlugin(module: ModuleReference, options?: RegisterPluginOptions): Promise<boolean>;
  async registerPlugin(
    plugin: ModuleReference | PluginDefinition,
    options: RegisterPluginOptions = {},
  ): Promise<boolean> {
    if (plugin instanceof PluginDefinition) {
      return this.#session.ask('register-worker-plugin', workerPluginParams(plugin));
    }
    return this.#session.ask('register-plugin', pluginParams(plugin, options));
  }

  /**
   * Puts a file or a directory of this machine into the own directory of all workers, those that
   * join later too, where tasks find it as `$FARM_LOCAL_DIRECTORY/name`. What is there already with
   * the same contents is not sent again; `unregisterPlugin(name)` removes it.
   *
   * @param options - `name`: what it is to be called. Default: the last part of the path.
   * @throws FarmError `ERR_ARGUMENT` where it cannot be read, `ERR_LIMIT` above 48 MiB, `ERR_PLUGIN`
   *   where a worker cannot take it.
   *
   * @example
   * await client.upload('./params.txt');
   */
  async upload(path: string, options: { readonly name?: string } = {}): Promise<Uploaded> {
    const { plugin, hash } = await uploadPlugin(path, options.name);
    return { name: plugin.name, hash, isNew: await this.registerPlugin(plugin) };
  }

  /**
   * Takes the plugins of that name from all workers and from the scheduler, whoever gave them, those
   * of the scheduler's `--preload` too. Resolves once they are torn down.
   *
   * @returns Whether there was one of that name.
   */
  async unregisterPlugin(name: string): Promise<boolean> {
    const found = await Promise.all([
      this.#session.ask('unregister-worker-plugin', { name }),
      this.#session.ask('unregister-plugin', { name }),
    ]);
    return found.includes(true);
  }

  /**
   * Leaves the cluster, which stays up for others; this client's futures are released, and results
   * that are waited for reject with `ERR_CLOSED`. A local cluster that this client started is ended.
   * Idempotent.
   */
  async close(): Promise<void> {
    this.#closing ??= this.#close();
    await this.#closing;
  }

  /** {@link close}, at the end of an `await using` block. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Ends the whole cluster, scheduler and workers, for all clients. Resolves when the scheduler has
   * closed the connection.
   */
  async shutdown(): Promise<void> {
    await this.#session.shutdown('a client asked for it');
    await this.close();
  }

  /** As Dask prints it: `<Client: 'tcp://10.0.0.1:8786' processes=2 threads=4, memory=8.00 GiB>`. */
  override toString(): string {
    const address = `'${this.#session.address ?? this.#target}'`;
    if (this.#session.ended !== undefined) return `<Client: ${address} closed>`;
    if (this.#info === undefined) return `<Client: ${address} not connected>`;
    const { workers } = this.#info;
    const threads = workers.reduce((sum, worker) => sum + worker.nthreads, 0);
    const memory = workers.reduce((sum, worker) => sum + (worker.memoryLimitBytes ?? 0), 0);
    const counts = `processes=${workers.length} threads=${threads}`;
    return `<Client: ${address} ${counts}, memory=${formatBytes(memory)}>`;
  }

  static {
    // Not in the class body: declarations cannot name symbols that are imported.
    Object.defineProperty(Client.prototype, inspect.custom, {
      value(this: Client): string {
        return this.toString();
      },
    });
  }

  async #close(): Promise<void> {
    await this.#session.close();
    await this.#closeOwnCluster();
  }
}

function keyOf(task: Future | string): string {
  return typeof task === 'string' ? task : task.key;
}

function checkedTarget(target?: ClientTarget, options?: ClientOptions): CheckedTarget {
  try {
    return checkTarget(target, options);
  } catch (error) {
    throw atCaller(error, Client);
  }
}

/** Why a session has ended is one error for all who ask: each gets one of its own. */
function copyOf(error: unknown): unknown {
  if (!(error instanceof FarmError)) return error;
  return new FarmError(error.code, error.message, { cause: error.cause });
}

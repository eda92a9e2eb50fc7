import { getHeapStatistics } from 'node:v8';

import {
  FarmError,
  failure,
  formatBytes,
  getRelayed,
  LIMITS,
  runUsage,
  type Connection,
  type FunctionExecutor,
  type Failure,
  type Logger,
  type PeerMessage,
  type PluginSet,
  type SetPlugin,
  type WorkerBoundMessage,
  type WorkerMessage,
} from '@farm/protocol';

import {
  memoryPolicy,
  WorkerCore,
  type DeviceResource,
  type Execute,
  type Fetch,
  type Interrupt,
  type Load,
  type MemoryFractions,
  type Spill,
  type WorkerEvent,
  type WorkerInstruction,
} from '../core/index.ts';
import { deviceVariables } from './devices/device-environment.ts';
import type { VisibleGpus } from './devices/visible-gpus.ts';
import { collectGarbage } from './collect-garbage.ts';
import type { DialStream } from './data/data-stream.ts';
import type { OpenHostMemory } from './data/host-memory/host-memory.ts';
import { InputFetcher } from './data/input-fetcher.ts';
import { serveData } from './data/serve-data.ts';
import { SHARED_BYTES_MIN, type Store } from './data/store.ts';
import { EventQueue } from './event-queue.ts';
import type { CommandSite } from './executors/commands/command-site.ts';
import { DrainAway } from './drain-away.ts';
import { createExecutors, type ExecutorsOptions } from './executors/create-executors.ts';
import { FinishedHold } from './finished-hold.ts';
import type {
  Executor,
  ExecutorResult,
  ExecutorRun,
  SchedulerContact,
} from './executors/executor.ts';
import { failureOf, readFunctionSpec } from './functions.ts';
import { MemoryWatch } from './memory-watch.ts';
import { TaskCgroups } from './task-memory/cgroups/task-cgroups.ts';
import { MemoryGuard } from './task-memory/memory-guard.ts';
import type { PluginHost } from './plugins/plugin-host.ts';
import type { EnvironmentChanges } from './plugins/worker-plugin.ts';
import { ProcessMeter } from './process-metrics.ts';
import { runInputs } from './run-inputs.ts';

/** Values of so many bytes that are dropped are given back to the system at once. */
const COLLECT_BYTES = 16_777_216;
/** Signals that are sent to all processes of a job reach them within this time. */
const TERMINATED_MS = 200;

/** Of functions that take less nobody is told the processor time: the message would cost as much. */
const MEASURED_US_MIN = 10_000;

/** Part of the memory limit that large values on their way may take, but for one (as Dask). */
const FETCH_MEMORY_FRACTION = 0.1;

/** Options of {@link WorkerSession}. */
export interface WorkerSessionOptions {
  /** Past its handshake, not listened to yet. */
  readonly connection: Connection<WorkerBoundMessage, WorkerMessage>;
  readonly heartbeatMs: number;
  readonly name: string;
  /** What functions run in that do not ask for one themselves. */
  readonly functionsIn: FunctionExecutor;
  /** What this worker's site adds to commands. */
  readonly commandSite: CommandSite;
  /** Where clients in tasks connect to. */
  readonly scheduler: SchedulerContact | undefined;
  /** Where peers reach this worker's store. */
  readonly address: string;
  readonly nthreads: number;
  /** CPUs that each slot is bound to. */
  readonly slotCpus: readonly string[] | undefined;
  /** Resources that stand for devices. */
  readonly devices: readonly DeviceResource[];
  /** Where GPUs among them are selected. */
  readonly gpus: VisibleGpus;
  /** Null for none: nothing is spilled then. */
  readonly memoryLimitBytes: number | null;
  /** At which parts of the limit what is done. @default those of Dask */
  readonly memoryFractions?: MemoryFractions | undefined;
  /** Control group below which those of tasks are made. @default the worker's own */
  readonly taskCgroup?: string | undefined;
  /** Empty; the data server serves from it. */
  readonly store: Store;
  /** Brings a connection back that lost its socket; where that fails, the connection ends. */
  readonly reconnect: () => Promise<void>;
  readonly dialPeer: (address: string) => Promise<Connection<PeerMessage, PeerMessage>>;
  /** Opens a bare connection to a peer, for large values. */
  readonly dialStream: DialStream;
  /** How large values of workers on this host are read where they lie. */
  readonly openHostMemory: OpenHostMemory;
  /** Whether large results lie where other workers of this host can map them. */
  readonly memoryFiles: boolean;
  /** Whether what comes from there crosses a network. */
  readonly isElsewhere: (address: string) => boolean;
  /** The worker's plugins: set up as the scheduler says, and told what becomes of runs. */
  readonly plugins: SessionPlugins;
  readonly logger: Logger;
  /** Takes what tasks write. */
  readonly output: (stream: 'stdout' | 'stderr', text: string) => void;
}

/** What a session has to do with plugins. */
export interface SessionPlugins {
  readonly transitions: PluginHost['transitions'];
  /** Sets up a plugin, or tears it down, and says what came of it. */
  set(message: SetPlugin): Promise<PluginSet>;
}

/** How a session ended. `exit`: on purpose. `lost`: the connection. `broken`: a bug of farm. */
export type SessionEnd =
  | { readonly how: 'exit'; readonly reason: string; readonly restart?: boolean }
  | { readonly how: 'lost'; readonly why: FarmError }
  | { readonly how: 'broken'; readonly why: unknown };

/**
 * A worker's life on one connection to the scheduler: carries what happens to the core and performs
 * what the core asks for. The connection may lose its socket for a while; what is said then waits.
 * When it ends, the scheduler counts the worker as gone, so nothing outlives the session.
 */
export class WorkerSession implements AsyncDisposable {
  /** Resolves once, with how the session ended. The session still has to be closed then. */
  readonly ended: Promise<SessionEnd>;
  readonly #options: WorkerSessionOptions;
  readonly #core: WorkerCore;
  readonly #events: EventQueue<WorkerEvent>;
  readonly #executors: Executor;
  readonly #fetcher: InputFetcher;
  readonly #meter = new ProcessMeter();
  readonly #end = Promise.withResolvers<SessionEnd>();
  /** Task of each run that was given to the executors and has not ended. */
  readonly #tasks = new Map<number, number>();
  /** Functions whose bytes make no sense, with the reason. */
  readonly #broken = new Map<number, FarmError>();
  /** Functions that run in threads. */
  readonly #threaded = new Set<number>();
  /** Those whose runs share the memory of their inputs. */
  readonly #sharing = new Set<number>();
  readonly #finished: FinishedHold;
  readonly #away = new DrainAway(() => this.askClose('the scheduler is away'));
  readonly #heartbeat: NodeJS.Timeout;
  readonly #memoryWatch: MemoryWatch | undefined;
  /** Of runs that asked for memory. */
  readonly #guard: MemoryGuard;
  readonly #cgroups: TaskCgroups;
  #wake: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;
  #isCollecting = false;
  #isCollectingShared = false;

  constructor(options: WorkerSessionOptions) {
    const { connection, heartbeatMs, name, address, nthreads, dialPeer, output } = options;
    const { memoryLimitBytes, memoryFractions, store } = options;
    this.#options = options;
    this.ended = this.#end.promise;
    const memory = memoryPolicy(memoryLimitBytes, memoryFractions);
    this.#finished = new FinishedHold((message) => connection.send(message));
    this.#core = new WorkerCore({ nthreads, name, address, memory, devices: options.devices });
    this.#events = new EventQueue((events) => this.#handle(events));
    this.#fetcher = new InputFetcher({
      name,
      dialPeer,
      dialStream: options.dialStream,
      openHostMemory: options.openHostMemory,
      notRead: (why) => {
        options.logger.debug('memory of a worker on this host is not read, a socket is used', {
          why,
        });
      },
      needsChecks: options.isElsewhere,
      ...(memoryLimitBytes === null
        ? {}
        : { fetchBytesMax: memoryLimitBytes * FETCH_MEMORY_FRACTION }),
      askRelay: ({ request, task, offset, length }) => {
        connection.send(getRelayed(request, task, offset, length));
      },
    });
    this.#cgroups = new TaskCgroups({
      directory: options.taskCgroup,
      unusable: (why) => {
        options.logger.info('memory of tasks is looked at, not limited by control groups', { why });
      },
    });
    this.#executors = createExecutors({
      slots: nthreads,
      cgroups: this.#cgroups,
      workerName: name,
      functionsIn: options.functionsIn,
      slotCpus: options.slotCpus,
      commandSite: options.commandSite,
      scheduler: options.scheduler,
      resultBytesMax: memoryLimitBytes ?? undefined,
      ...heapLimit(memoryLimitBytes),
      prewarm: true,
      memoryFiles: options.memoryFiles,
      handlers: {
        ended: (_slot, results) => this.#runsEnded(results),
        erred: (_slot, run, why, durationUs, isTerminated = false) => {
          options.plugins.transitions.moved(run, 'erred');
          this.#forgetRun(run);
          const erred = { kind: 'run-erred', run, failure: why, durationUs, isTerminated } as const;
          const post = (): void => this.#post({ ...erred, nowMs: now() });
          // The same signal may reach this process a moment later.
          if (isTerminated) setTimeout(post, TERMINATED_MS);
          else post();
        },
        seceded: (_slot, run) => {
          options.plugins.transitions.moved(run, 'seceded');
          this.#post({ kind: 'run-seceded', nowMs: now(), run });
        },
        emptied: (slot, failed, unstarted) => {
          const { transitions } = options.plugins;
          if (failed !== null) transitions.moved(failed.run, 'erred');
          for (const run of unstarted) transitions.moved(run, 'ready');
          if (failed !== null) this.#forgetRun(failed.run);
          for (const run of unstarted) this.#forgetRun(run);
          this.#post({ kind: 'slot-emptied', nowMs: now(), slot, failed, unstarted });
        },
        withdrawn: (slot, withdrawn, started) => this.#withdrawn(slot, withdrawn, started),
        output: (_slot, stream, text) => output(stream, text),
      },
    });
    this.#guard = new MemoryGuard({
      workerName: name,
      interrupt: (slot, run, why) => this.#executors.interrupt(slot, run, why),
      cgroups: this.#cgroups,
      functionBytes: async (slot, run) => this.#executors.memoryBytes?.(slot, run),
    });
    store.onSharedGivenUp = () => this.#collectSharedSoon();
    store.onLost = (task, reason) => this.#lost(task, reason);
    if (memory !== null) {
      this.#memoryWatch = new MemoryWatch((rssBytes) => {
        const { givenUpBytes } = store;
        this.#post({ kind: 'memory-sampled', nowMs: now(), rssBytes, givenUpBytes });
      });
    }
    this.#heartbeat = setInterval(() => this.#beat(), Math.max(100, heartbeatMs));
    connection.listen({
      messages: (batch) => this.#hear(batch),
      bulk: (frame) => this.#fetcher.relayed.answer(frame),
      closed: (why) => this.#end.resolve({ how: 'lost', why }),
      detached: (why) => {
        this.#away.detached();
        options.logger.warn('lost the connection to the scheduler, going on', {
          reason: why.message,
        });
        void options.reconnect();
      },
      attached: () => {
        this.#away.attached();
        options.logger.info('the connection to the scheduler is back');
      },
    });
    this.#beat();
  }

  /** Asks the core to hand back its work and end; `ended` follows. */
  askClose(reason: string): void {
    this.#post({ kind: 'close-asked', nowMs: now(), reason });
  }

  /** Functions that begin from now on find these changes in their environment. */
  setEnvironment(changes: EnvironmentChanges): void {
    this.#executors.setEnvironment(changes);
  }

  /** Asks the core to end once nothing is lost by it; `ended` follows. */
  askDrain(reason: string, restart: boolean): void {
    this.#post({ kind: 'drain-asked', nowMs: now(), reason, restart });
    const { runs, data } = this.#core.counts();
    if (this.#away.isAway && runs + data === 0) this.askClose(reason);
    else this.#away.drains();
  }

  /** Ends everything: tasks, transfers and the connection. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    this.#end.resolve({ how: 'exit', reason: 'closed' });
    this.#events.close();
    clearInterval(this.#heartbeat);
    this.#away.close();
    this.#memoryWatch?.[Symbol.dispose]();
    this.#guard.close();
    clearTimeout(this.#wake);
    this.#finished.flush();
    this.#meter[Symbol.dispose]();
    await Promise.all([
      this.#executors.close(),
      this.#fetcher.close(),
      this.#options.connection.close(),
    ]);
    this.#cgroups.close();
    this.#options.store.clear();
  }

  #post(event: WorkerEvent): void {
    this.#events.post(event);
  }

  #hear(batch: readonly WorkerBoundMessage[]): void {
    const { store, connection, name } = this.#options;
    for (const message of batch) {
      if (message.op === 'get-data') serveData(message, store, connection, name);
      else if (message.op === 'set-plugin') void this.#setPlugin(message);
      else if (message.op === 'data-failed') {
        this.#fetcher.relayed.fail(message.request, message.failure);
      } else this.#post({ kind: 'scheduler-said', nowMs: now(), message });
    }
  }

  async #setPlugin(message: SetPlugin): Promise<void> {
    const answer = await this.#options.plugins.set(message);
    if (this.#closing === undefined) this.#options.connection.send(answer);
  }

  #beat(): void {
    const { store } = this.#options;
    const executing = this.#executors.executing().length;
    const queued = Math.max(0, this.#core.counts().runs - executing);
    const metrics = {
      ...this.#meter.look(),
      storedBytes: store.totalBytes,
      executing,
      queued,
      // The core knows these.
      spilledBytes: 0,
      paused: false,
    };
    this.#post({ kind: 'heartbeat-due', nowMs: now(), metrics });
  }

  #runsEnded(results: readonly ExecutorResult[]): void {
    const { store, plugins } = this.#options;
    const ended = results.flatMap(({ run, value, durationUs, cpuUs }) => {
      const task = this.#tasks.get(run);
      if (task === undefined) return [];
      this.#forgetRun(run, durationUs < MEASURED_US_MIN ? undefined : cpuUs);
      const sizeBytes = value.byteLength;
      const tooLarge = this.#whyTooLarge(sizeBytes);
      plugins.transitions.moved(run, tooLarge === null ? 'memory' : 'erred');
      if (tooLarge !== null) {
        this.#post({ kind: 'run-erred', nowMs: now(), run, failure: tooLarge, durationUs });
        return [];
      }
      store.set(task, alone(value));
      const inline = sizeBytes <= LIMITS.inlineValueBytesMax ? value : null;
      return [{ run, sizeBytes, value: inline, durationUs }];
    });
    if (ended.length > 0) this.#post({ kind: 'runs-ended', nowMs: now(), ended });
  }

  #handle(events: readonly WorkerEvent[]): void {
    try {
      for (const instruction of this.#core.handle(events)) this.#perform(instruction);
    } catch (why) {
      // The core is in a state nobody knows. To end the session is the one safe thing.
      this.#events.close();
      this.#end.resolve({ how: 'broken', why });
    }
  }

  #perform(instruction: WorkerInstruction): void {
    const { store, logger } = this.#options;
    switch (instruction.do) {
      case 'to-scheduler':
        this.#finished.send(instruction.message, this.#core.counts().ready > 0);
        break;
      case 'execute':
        this.#execute(instruction);
        break;
      case 'withdraw': {
        const { slot, runs } = instruction;
        const { withdrawn, started } = this.#executors.withdraw(slot, runs);
        this.#withdrawn(slot, withdrawn, started);
        break;
      }
      case 'interrupt':
        this.#interrupt(instruction);
        break;
      case 'keep':
        store.set(instruction.task, instruction.value.slice());
        break;
      case 'drop':
        if (store.drop(instruction.tasks) >= COLLECT_BYTES) this.#collectSoon();
        break;
      case 'spill':
        void this.#spill(instruction);
        break;
      case 'evict':
        store.evict(instruction.task);
        this.#collectSoon();
        break;
      case 'load':
        void this.#load(instruction);
        break;
      case 'collect':
        collectGarbage();
        break;
      case 'fetch':
        void this.#fetch(instruction);
        break;
      case 'define':
        this.#define(instruction.fn, instruction.name, instruction.spec);
        break;
      case 'forget':
        for (const fn of instruction.fns) {
          this.#broken.delete(fn);
          this.#sharing.delete(fn);
          this.#threaded.delete(fn);
        }
        this.#executors.forget(instruction.fns);
        break;
      case 'log':
        logger[instruction.level](instruction.message);
        break;
      case 'wake':
        this.#wake = setTimeout(() => {
          this.#post({ kind: 'woke', nowMs: now() });
        }, instruction.afterMs);
        break;
      case 'exit':
        this.#end.resolve({
          how: 'exit',
          reason: instruction.reason,
          restart: instruction.restart === true,
        });
        break;
      default:
        instruction satisfies never;
    }
  }

  #define(fn: number, name: string, spec: Uint8Array): void {
    try {
      const known = readFunctionSpec(name, spec);
      this.#executors.define(fn, name, known);
      const { functionsIn } = this.#options;
      if (known.kind === 'command' || (known.executor ?? functionsIn) !== 'threads') return;
      this.#threaded.add(fn);
      if (known.sharedInputs === true) this.#sharing.add(fn);
    } catch (error) {
      if (!(error instanceof FarmError)) throw error;
      this.#broken.set(fn, error);
    }
  }

  #execute({ slot, fn, runs }: Execute): void {
    const { store, name, gpus } = this.#options;
    const shares = this.#sharing.has(fn);
    const maps = this.#options.memoryFiles && this.#threaded.has(fn);
    const givenUpBytes = store.givenUpBytes;
    const given: ExecutorRun[] = [];
    const gone: number[] = [];
    for (const {
      run,
      task,
      key,
      attempt,
      args,
      inputs,
      moved,
      timeoutMs,
      resources,
      devices,
    } of runs) {
      try {
        const error = this.#broken.get(fn);
        if (error !== undefined) throw error;
        const values = runInputs(store, { key, tasks: inputs, moved, shares, maps });
        const one = { run, key, attempt, args, ...values, timeoutMs, resources };
        given.push(
          devices === null
            ? one
            : { ...one, devices: { granted: devices, variables: deviceVariables(devices, gpus) } },
        );
        this.#tasks.set(run, task);
      } catch (error) {
        const why = failureOf(error, key, name);
        this.#post({ kind: 'run-erred', nowMs: now(), run, failure: why, durationUs: 0 });
      }
      if (moved !== undefined) gone.push(...moved);
    }
    if (given.length > 0) this.#executors.execute(slot, fn, given);
    // What has moved to a thread by now leaves no memory behind here.
    store.drop(gone);
    if (store.givenUpBytes - givenUpBytes >= COLLECT_BYTES) this.#collectSoon();
    for (const run of given) this.#guard.began(slot, run);
    const { transitions } = this.#options.plugins;
    if (transitions.listeners.length === 0) return;
    for (const { run, key } of given) transitions.began(run, key);
  }

  #withdrawn(slot: number, withdrawn: readonly number[], started: readonly number[]): void {
    if (withdrawn.length + started.length === 0) return;
    for (const run of withdrawn) this.#forgetRun(run);
    for (const run of withdrawn) this.#options.plugins.transitions.moved(run, 'ready');
    this.#post({ kind: 'runs-withdrawn', nowMs: now(), slot, withdrawn, started });
  }

  /** @param cpuUs - Processor time of a function that is worth telling. */
  #forgetRun(run: number, cpuUs?: number): void {
    this.#tasks.delete(run);
    const usage = this.#guard.ended(run);
    if (usage === undefined && cpuUs === undefined) return;
    const us = usage?.cpuUs ?? cpuUs ?? null;
    const rounded = us === null ? null : Math.round(us);
    this.#options.connection.send(runUsage(run, usage?.peakBytes ?? null, rounded));
  }

  #interrupt({ slot, run, code, reason }: Interrupt): void {
    const why = failure(code, reason, '', this.#options.name, null);
    // Where it is false the run has ended, and its end is in the queue.
    this.#executors.interrupt(slot, run, why);
  }

  async #spill({ task, transfer }: Spill): Promise<void> {
    try {
      if (!(await this.#options.store.spill(task))) return;
      this.#post({ kind: 'value-spilled', nowMs: now(), task, transfer });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      this.#post({ kind: 'spill-failed', nowMs: now(), task, transfer, reason });
    }
  }

  async #load({ task, transfer }: Load): Promise<void> {
    try {
      await this.#options.store.load(task);
      this.#post({ kind: 'value-loaded', nowMs: now(), task, transfer });
    } catch (error) {
      this.#lost(task, error instanceof Error ? error.message : String(error));
    }
  }

  #lost(task: number, reason: string): void {
    this.#post({ kind: 'value-lost', nowMs: now(), task, reason });
  }

  /** Once for all that this turn of the event loop gives up, where memory counts. */
  #collectSoon(): void {
    if (this.#isCollecting || this.#options.memoryLimitBytes === null) return;
    this.#isCollecting = true;
    setImmediate(() => {
      this.#isCollecting = false;
      collectGarbage();
      if (this.#closing === undefined) this.#memoryWatch?.collected();
    });
  }

  /** Once for all that this turn of the event loop gives up, and after the runs it was given to. */
  #collectSharedSoon(): void {
    if (this.#isCollectingShared) return;
    this.#isCollectingShared = true;
    setImmediate(() => {
      this.#isCollectingShared = false;
      if (this.#closing === undefined) this.#executors.collect?.();
    });
  }

  /** Why a result cannot be kept; null where it can. */
  #whyTooLarge(sizeBytes: number): Failure | null {
    const { memoryLimitBytes, name } = this.#options;
    if (memoryLimitBytes === null || sizeBytes <= memoryLimitBytes) return null;
    const message =
      `the result takes ${formatBytes(sizeBytes)}, more than the memory limit of worker ${name}, ` +
      `${formatBytes(memoryLimitBytes)}: return less, write it to a file, or raise --memory-limit`;
    return failure('ERR_RESULT', message, '', name, null);
  }

  async #fetch({ fn, task, sizeBytes, holders }: Fetch): Promise<void> {
    const shares = fn !== null && this.#sharing.has(fn) && sizeBytes >= SHARED_BYTES_MIN;
    try {
      const value = await this.#fetcher.fetch(task, sizeBytes, holders, shares);
      if (this.#closing !== undefined) return;
      this.#options.store.set(task, value);
      this.#post({ kind: 'input-fetched', nowMs: now(), task, sizeBytes: value.byteLength });
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (this.#closing === undefined) {
        this.#options.logger.warn('an input could not be fetched', { task, reason });
      }
      this.#post({ kind: 'input-failed', nowMs: now(), task, holders, reason });
    }
  }
}

/** A function may fill its heap up to the memory limit, where that is more than Node allows. */
function heapLimit(memoryLimitBytes: number | null): Pick<ExecutorsOptions, 'resourceLimits'> {
  const megabytes = Math.floor((memoryLimitBytes ?? 0) / 2 ** 20);
  if (megabytes <= Math.ceil(getHeapStatistics().heap_size_limit / 2 ** 20)) return {};
  return { resourceLimits: { maxOldGenerationSizeMb: megabytes } };
}

/** Milliseconds of a clock that never goes back. */
function now(): number {
  return performance.now();
}

/** A small value that is a view of something larger would keep all of it alive. */
function alone(value: Uint8Array): Uint8Array {
  return value.buffer.byteLength > 2 * value.byteLength + 64 ? value.slice() : value;
}

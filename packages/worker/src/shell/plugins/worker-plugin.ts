import type { ResourceAmounts } from '@farm/protocol';

/** Variables to set; null removes one. */
export type EnvironmentChanges = Readonly<Record<string, string | null>>;

/** A worker, as its plugins see it; also the worker that a nanny's plugin is about. */
export interface PluginWorker {
  readonly name: string;
  /** Where other workers reach it; null before it has connected for the first time, and for nannies. */
  readonly address: string | null;
  /** Its own directory, removed when it ends; of a nanny: where its worker makes that directory. */
  readonly localDirectory: string;
  /** Execution slots. */
  readonly nthreads: number;
  readonly resources: ResourceAmounts;
  /** Of the worker process; of a nanny its own. */
  readonly pid: number;
  /** Writes a line to the worker's log, with the plugin's name. */
  log(message: string, level?: 'info' | 'warn' | 'error'): void;
  /**
   * Changes the environment of what the worker runs from now on, functions and commands; of a nanny:
   * also that of the worker processes it starts.
   */
  setEnvironment(changes: EnvironmentChanges): Promise<void>;
}

/**
 * Where a run of a task is on a worker. `executing`: handed to a slot, where it starts when those
 * handed there before it have ended; `ready` again: taken back unstarted; `seceded`: it waits for
 * other tasks without a slot.
 */
export type RunState = 'ready' | 'executing' | 'seceded' | 'memory' | 'erred';

/**
 * Something that goes with a worker. It runs in a thread of its own: it may block and take its time
 * and harms neither heartbeats nor tasks. What it throws is logged with its name. All methods are
 * optional.
 *
 * @example
 * // scratch.ts, for `farm-worker --preload ./scratch.ts`
 * import type { WorkerPlugin } from '@farm/worker';
 * const plugin: WorkerPlugin = {
 *   name: 'scratch',
 *   setup: (worker) => mkdirSync(`/scratch/${worker.name}`),
 *   teardown: (worker) => rmSync(`/scratch/${worker.name}`, { recursive: true }),
 * };
 * export default plugin;
 */
export interface WorkerPlugin {
  /** In the log. @default the name it is registered under, or that of its module */
  readonly name?: string;
  /** Before the worker runs its first task; waited for. Where it throws there are no tasks. */
  setup?(worker: PluginWorker): unknown;
  /** When the worker ends in order, or the plugin is unregistered; waited for, up to 30 s. */
  teardown?(worker: PluginWorker): unknown;
  /** A run of a task began or ended. In order, some time later, and only where it is there. */
  transition?(key: string, from: RunState, to: RunState): unknown;
}

/**
 * Something that goes with a nanny: it is set up before the worker process starts and outlives it.
 * Runs in a thread of its own, as a {@link WorkerPlugin} does.
 */
export interface NannyPlugin {
  readonly name?: string;
  setup?(nanny: PluginWorker): unknown;
  teardown?(nanny: PluginWorker): unknown;
}

/** What the module of a plugin exports: plugins, a class of them, or a function that makes them. */
export type WorkerPluginExport<Args extends readonly unknown[] = readonly string[]> =
  | WorkerPlugin
  | readonly WorkerPlugin[]
  | (new (...args: Args) => WorkerPlugin)
  | ((...args: Args) => WorkerPlugin | readonly WorkerPlugin[] | Promise<WorkerPlugin>);

import { FarmError, failure } from '@farm/protocol';
import type { Failure, Logger, PluginParams, SchedulerInfo } from '@farm/protocol';

import type {
  Observation,
  ObservedClient,
  ObservedDeparture,
  ObservedSubmit,
  ObservedTransition,
  ObservedWorker,
  Observing,
} from '../core/index.ts';
import { importPlugins } from './plugin-modules.ts';

/** A plugin that throws this often is disabled. */
export const PLUGIN_THROWS_MAX = 100;

/** The scheduler, as a plugin sees it. */
export interface SchedulerView {
  readonly id: string;
  /** As others dial it. */
  readonly address: string;
  /** Its workers, clients and tasks, as they are now. */
  info(): SchedulerInfo;
}

/**
 * Something that is told what happens in a scheduler, as it happens and in order. Its methods are
 * synchronous and get plain records; all are optional. What they throw is logged with the plugin's
 * name and never harms the scheduler; a plugin that threw 100 times is disabled. They run on the
 * scheduler's own thread: what they take, everybody waits for.
 *
 * @example
 * // count-deaths.ts, for `farm-scheduler --preload ./count-deaths.ts`
 * import type { SchedulerPlugin } from '@farm/scheduler';
 * let deaths = 0;
 * const plugin: SchedulerPlugin = {
 *   name: 'count-deaths',
 *   removeWorker: ({ name, reason }) => console.log(++deaths, name, reason),
 * };
 * export default plugin;
 */
export interface SchedulerPlugin {
  /** In the log, and what it is registered under. @default the name of its module */
  readonly name?: string;
  /** It was registered; called first, once. */
  start?(scheduler: SchedulerView): void;
  /** The scheduler ends, or it is unregistered; called last, once. */
  close?(): void;
  addWorker?(worker: ObservedWorker): void;
  removeWorker?(worker: ObservedDeparture): void;
  addClient?(client: ObservedClient): void;
  removeClient?(client: ObservedClient): void;
  /** A task changed its state. By far the most frequent. */
  transition?(transition: ObservedTransition): void;
  submit?(submission: ObservedSubmit): void;
}

/** What a plugin's module exports as default: plugins, or a function that makes them. */
export type PluginExport =
  | SchedulerPlugin
  | readonly SchedulerPlugin[]
  | ((args: readonly string[]) => SchedulerPlugin | readonly SchedulerPlugin[]);

/** What came of a client's wish for a plugin. */
export interface PluginOutcome {
  /** Whether it was not there before. */
  readonly isNew: boolean;
  readonly failure: Failure | null;
}

/** A plugin that is in use. */
interface Registered {
  readonly name: string;
  /** Where it came from. */
  readonly module: string;
  readonly plugin: SchedulerPlugin;
  throws: number;
}

/** Hosts the plugins of a scheduler: whatever they do, it goes on. */
export class PluginHost {
  readonly #plugins = new Map<string, Registered>();
  readonly #logger: Logger;
  #view: SchedulerView | undefined;
  /** Clients' wishes one after the other, so that two for one name do not both load it. */
  #registering: Promise<unknown> = Promise.resolve();

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** What the plugins want to be told of. */
  get observing(): Observing {
    const plugins = [...this.#plugins.values()];
    if (plugins.some(({ plugin }) => plugin.transition !== undefined)) return 'all';
    return plugins.length > 0 ? 'events' : 'nothing';
  }

  /** Names of the plugins in use. */
  get names(): readonly string[] {
    return [...this.#plugins.keys()];
  }

  /**
   * Imports a module and takes in the plugins it exports; they are started with the scheduler.
   *
   * @throws FarmError `ERR_ARGUMENT` where there is no such module, or it exports no plugin.
   */
  async preload(module: string, args: readonly string[]): Promise<void> {
    for (const { name, plugin } of await importPlugins(module, args)) {
      if (this.#plugins.has(name)) {
        throw new FarmError('ERR_ARGUMENT', `there are two plugins named ${name}: rename one`);
      }
      this.#add(name, module, plugin);
    }
  }

  /** The scheduler is up: all plugins are told so. */
  start(view: SchedulerView): void {
    this.#view = view;
    for (const registered of this.#plugins.values()) {
      this.#call(registered, 'start', () => registered.plugin.start?.(view));
    }
  }

  /**
   * Loads a plugin that a client asks for. Never throws.
   *
   * @returns Whether it is new, and why there is none.
   */
  register(params: PluginParams): Promise<PluginOutcome> {
    const outcome = this.#registering.then(() => this.#register(params));
    this.#registering = outcome;
    return outcome;
  }

  /**
   * Closes a plugin, whoever asked for it. Those that are being registered are waited for.
   *
   * @returns Whether there was one of that name.
   */
  unregister(name: string): Promise<boolean> {
    const outcome = this.#registering.then(() => this.#unregister(name));
    this.#registering = outcome;
    return outcome;
  }

  /** Tells the plugins what happened. */
  observe({ kind, about }: Observation): void {
    for (const registered of this.#plugins.values()) {
      const { plugin } = registered;
      // SAFE: kind and about belong together, and the method named kind takes such an about.
      const method = plugin[kind] as ((about: unknown) => void) | undefined;
      if (method === undefined) continue;
      this.#call(registered, kind, () => method.call(plugin, about));
    }
  }

  /** The scheduler ends. Idempotent. */
  close(): void {
    const plugins = [...this.#plugins.values()];
    this.#plugins.clear();
    for (const registered of plugins) {
      this.#call(registered, 'close', () => registered.plugin.close?.());
    }
  }

  async #register(params: PluginParams): Promise<PluginOutcome> {
    const { name, module } = params;
    try {
      const present = this.#plugins.get(name);
      if (present?.module === module) return { isNew: false, failure: null };
      if (present !== undefined) {
        throw new FarmError('ERR_ARGUMENT', `plugin ${name} is another module, ${present.module}`);
      }
      await this.#load(params);
      return { isNew: true, failure: null };
    } catch (error) {
      const code = error instanceof FarmError ? error.code : 'ERR_ARGUMENT';
      const why = `plugin ${name}: ${error instanceof Error ? error.message : String(error)}`;
      this.#logger.warn(`${why}; it is not registered`);
      return { isNew: false, failure: failure(code, why, '', null, null) };
    }
  }

  #unregister(name: string): boolean {
    const registered = this.#plugins.get(name);
    if (registered === undefined) return false;
    this.#plugins.delete(name);
    this.#call(registered, 'close', () => registered.plugin.close?.());
    this.#logger.info(`plugin ${name} is not registered any more`);
    return true;
  }

  async #load({ name, module, args }: PluginParams): Promise<void> {
    const [first, ...others] = await importPlugins(module, args, { fileOnly: true });
    if (first === undefined || others.length > 0) {
      const count = first === undefined ? 'no plugin' : `${others.length + 1} plugins`;
      throw new FarmError('ERR_ARGUMENT', `${module} exports ${count}: register one at a time`);
    }
    // A plugin that cannot even start is of no use to the client that asked for it.
    if (this.#view !== undefined) first.plugin.start?.(this.#view);
    this.#add(name, module, first.plugin);
  }

  #add(name: string, module: string, plugin: SchedulerPlugin): void {
    this.#plugins.set(name, { name, module, plugin, throws: 0 });
    this.#logger.info(`plugin ${name} is registered, from ${module}`);
  }

  #call(registered: Registered, method: string, call: () => unknown): void {
    try {
      const returned = call();
      // An async method by mistake: its rejection must not end the process.
      if (returned instanceof Promise) {
        returned.catch((error: unknown) => this.#threw(registered, method, error));
      }
    } catch (error) {
      this.#threw(registered, method, error);
    }
  }

  #threw(registered: Registered, method: string, error: unknown): void {
    const { name } = registered;
    registered.throws += 1;
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    this.#logger.warn(`plugin ${name} threw in ${method}: ${text}`);
    if (registered.throws !== PLUGIN_THROWS_MAX) return;
    this.#plugins.delete(name);
    this.#logger.error(`plugin ${name} threw ${PLUGIN_THROWS_MAX} times and is disabled`);
  }
}

import { failure, pluginSet, type Logger, type PluginSet, type SetPlugin } from '@farm/protocol';

import type { NannyLink } from '../nanny/nanny-link.ts';
import { PluginHost } from './plugin-host.ts';
import type { PluginSurroundings } from './plugin-messages.ts';
import type { TransitionFeed } from './transition-feed.ts';
import type { EnvironmentChanges } from './worker-plugin.ts';

/** Options of {@link WorkerPlugins}. */
export interface WorkerPluginsOptions {
  readonly worker: PluginSurroundings;
  readonly logger: Logger;
  /** To the nanny, which has plugins of its own; undefined where there is none. */
  readonly nanny: NannyLink | undefined;
  /** The environment of this process has changed. */
  readonly environmentChanged: (changes: EnvironmentChanges) => void;
}

/** The plugins of a worker, and its way to those of its nanny. */
export class WorkerPlugins {
  readonly #options: WorkerPluginsOptions;
  readonly #host: PluginHost;

  constructor(options: WorkerPluginsOptions) {
    this.#options = options;
    const { worker, logger } = options;
    this.#host = new PluginHost({
      worker,
      logger,
      setEnvironment: (changes) => this.#setEnvironment(changes),
    });
  }

  /** See {@link PluginHost.transitions}. */
  get transitions(): TransitionFeed {
    return this.#host.transitions;
  }

  /** Whether it is waited for plugins to be torn down. */
  get isTearingDown(): boolean {
    return this.#host.isTearingDown;
  }

  /**
   * Sets up the plugins of modules. Rejects with the signal's reason where that comes first.
   *
   * @throws FarmError `ERR_PLUGIN` or `ERR_ARGUMENT`
   */
  async preload(
    modules: readonly string[],
    args: readonly string[],
    signal: AbortSignal,
  ): Promise<void> {
    if (modules.length === 0) return;
    const { promise: aborted, reject } = Promise.withResolvers<never>();
    const stop = (): void => reject(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    try {
      await Promise.race([this.#host.preload(modules, args), aborted]);
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Does what the scheduler says. Never rejects. */
  async set({ request, name, kind, spec }: SetPlugin): Promise<PluginSet> {
    if (kind === 'worker') return pluginSet(request, await this.#host.set(name, spec));
    const { nanny, worker } = this.#options;
    if (nanny === undefined) {
      const why = `worker ${worker.name} has no nanny (--no-nanny), ${name} is a plugin of nannies`;
      return pluginSet(request, failure('ERR_PLUGIN', why, '', worker.name, null));
    }
    const answer = await nanny.setPlugin(name, spec);
    // This process has its environment from before.
    this.#setEnvironment(answer.environment);
    return pluginSet(request, answer.failure);
  }

  /** See {@link PluginHost.moveTo}. */
  moveTo(address: string): void {
    this.#host.moveTo(address);
  }

  /** See {@link PluginHost.forgetRegistered}. */
  forgetRegistered(): void {
    this.#host.forgetRegistered();
  }

  /** Tears down all plugins. Takes at most 30 s. Idempotent. */
  async close(): Promise<void> {
    await this.#host.close();
  }

  #setEnvironment(changes: EnvironmentChanges): void {
    for (const [name, value] of Object.entries(changes)) {
      if (value === null) delete process.env[name];
      else process.env[name] = value;
    }
    this.#options.environmentChanged(changes);
  }
}

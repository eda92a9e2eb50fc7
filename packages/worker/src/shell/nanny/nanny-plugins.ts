import { defaultLocalDirectory } from '../local-directory.ts';
import { PluginHost } from '../plugins/plugin-host.ts';
import type { EnvironmentChanges } from '../plugins/worker-plugin.ts';
import type { Logger } from '@farm/protocol';
import type { NannyPluginAnswer } from './nanny-link.ts';
import type { WorkerProcessOptions } from './nanny.ts';

/** The plugins of a nanny: set up before its worker process starts, and there until the nanny ends. */
export class NannyPlugins {
  readonly #host: PluginHost;
  readonly #environment = new Map<string, string | null>();

  constructor(worker: WorkerProcessOptions, logger: Logger) {
    const { name = '', localDirectory = defaultLocalDirectory(), nthreads, resources } = worker;
    this.#host = new PluginHost({
      worker: { name, address: null, localDirectory, nthreads, resources: resources ?? [] },
      logger,
      setEnvironment: (changes) => {
        for (const [key, value] of Object.entries(changes)) this.#environment.set(key, value);
      },
    });
  }

  /**
   * Sets up the plugins of modules.
   *
   * @throws FarmError `ERR_PLUGIN` or `ERR_ARGUMENT`
   */
  async preload(modules: readonly string[], args: readonly string[]): Promise<void> {
    await this.#host.preload(modules, args);
  }

  /** Does what the scheduler has told the worker. Never rejects. */
  async set(name: string, spec: Uint8Array | null): Promise<NannyPluginAnswer> {
    const failure = await this.#host.set(name, spec);
    const environment: EnvironmentChanges = Object.fromEntries(this.#environment);
    return { failure, environment };
  }

  /** The environment of a worker process, from that of the nanny. */
  environment(inherited: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
    const changed = { ...inherited };
    for (const [name, value] of this.#environment) {
      if (value === null) delete changed[name];
      else changed[name] = value;
    }
    return changed;
  }

  /** Tears down all of them. Takes at most 30 s. Idempotent. */
  async close(): Promise<void> {
    await this.#host.close();
  }
}

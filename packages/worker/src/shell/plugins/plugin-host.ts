import {
  FarmError,
  LIMITS,
  failure,
  type Failure,
  type Logger,
  type PluginSpec,
} from '@farm/protocol';
import { decodeValue, encodeValue } from '@farm/protocol/value';

import type { PluginSurroundings } from './plugin-messages.ts';
import { PluginThread } from './plugin-thread.ts';
import { locatePlugin } from './locate-plugin.ts';
import { TransitionFeed } from './transition-feed.ts';
import type { EnvironmentChanges } from './worker-plugin.ts';

/** Options of {@link PluginHost}. */
export interface PluginHostOptions {
  readonly worker: PluginSurroundings;
  readonly logger: Logger;
  /** Changes the environment of what the worker, or nanny, starts. */
  readonly setEnvironment: (changes: EnvironmentChanges) => void;
  /** @default 30 s */
  readonly teardownTimeoutMs?: number;
}

interface Hosted {
  /** For the log. */
  readonly name: string;
  readonly spec: Uint8Array;
  readonly thread: PluginThread;
  /** It comes from the command line, and stays whatever a scheduler says. */
  readonly isPreloaded: boolean;
}

/** The plugins of a worker, or of a nanny, each in a thread of its own. */
export class PluginHost {
  /** What becomes of runs, for plugins that want to know. */
  readonly transitions: TransitionFeed = new TransitionFeed();
  readonly #options: PluginHostOptions;
  readonly #hosted = new Map<string, Hosted>();
  /** One after the other, in the order they were asked for: one may build on another. */
  #last: Promise<unknown> = Promise.resolve();
  #address: string | null = null;
  #closing: Promise<void> | undefined;
  #isTearingDown = false;

  constructor(options: PluginHostOptions) {
    this.#options = options;
  }

  /**
   * Sets up the plugins of modules, one after the other.
   *
   * @throws FarmError `ERR_PLUGIN` naming the module that has no plugin, or whose setup failed;
   *   `ERR_ARGUMENT` where there is no such module.
   */
  async preload(modules: readonly string[], args: readonly string[]): Promise<void> {
    for (const module of modules) {
      const url = locatePlugin(module);
      const code = { kind: 'module', name: module, url, exportName: 'default' } as const;
      const spec: PluginSpec = { code, args, setupTimeoutMs: LIMITS.pluginSetupMs };
      const { bytes } = encodeValue(spec);
      const name = url.slice(url.lastIndexOf('/') + 1).replace(/\.[^.]*$/, '');
      const why = await this.#inTurn(() => this.#setUp(name, bytes, true));
      if (why === null) continue;
      const message = `plugin ${module} could not be set up: ${why.message}`;
      throw new FarmError('ERR_PLUGIN', message, { worker: this.#options.worker.name });
    }
  }

  /**
   * Sets up a plugin, in the place of the one of that name; null tears it down. A plugin that is
   * there already stays as it is. Never rejects.
   */
  set(name: string, spec: Uint8Array | null): Promise<Failure | null> {
    return this.#inTurn(async () => {
      const present = this.#hosted.get(name);
      const isSame = spec !== null && present !== undefined && sameBytes(present.spec, spec);
      if (isSame && present.thread.isAlive) return null;
      const torn = present === undefined ? null : await this.#tearDown(name, present);
      return spec === null ? torn : await this.#setUp(name, spec, false);
    });
  }

  /** Whether it is being closed, and some plugin is not torn down yet. */
  get isTearingDown(): boolean {
    return this.#isTearingDown;
  }

  /** Where the worker is reached. */
  moveTo(address: string | null): void {
    if (this.#address === address) return;
    this.#address = address;
    for (const { thread } of this.#hosted.values()) thread.moveTo(address);
  }

  /** The scheduler is gone: what came from it is torn down. */
  forgetRegistered(): void {
    this.transitions.clear();
    for (const [name, { isPreloaded }] of this.#hosted) {
      if (!isPreloaded) void this.set(name, null);
    }
  }

  /** Tears down all of them, at the same time. Takes no longer than the longest may. Idempotent. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.transitions.listeners = [];
    this.#isTearingDown = this.#hosted.size > 0;
    await Promise.all([...this.#hosted].map(async ([key, hosted]) => this.#tearDown(key, hosted)));
    this.#isTearingDown = false;
  }

  async #setUp(name: string, spec: Uint8Array, isPreloaded: boolean): Promise<Failure | null> {
    const { worker, logger, setEnvironment } = this.#options;
    const { teardownTimeoutMs = LIMITS.pluginTeardownMs } = this.#options;
    const refusal = (message: string): Failure =>
      failure('ERR_PLUGIN', message, '', worker.name, null);
    if (this.#closing !== undefined) return refusal('the worker is ending');
    const setupTimeoutMs = setupTimeoutOf(spec);
    if (setupTimeoutMs === null) return refusal('this is no plugin');
    const thread = new PluginThread({
      plugin: name,
      spec,
      worker: { ...worker, address: this.#address },
      setupTimeoutMs,
      teardownTimeoutMs,
      logger,
      setEnvironment,
    });
    const key = isPreloaded ? `--preload ${name}` : name;
    // It is torn down with the others, should the worker end meanwhile.
    this.#hosted.set(key, { name, spec, thread, isPreloaded });
    const why = await thread.setUp();
    if (why === null) logger.info(`plugin ${name} is set up`);
    else {
      this.#hosted.delete(key);
      logger.error(`plugin ${name} could not be set up: ${why.message}`);
    }
    return why;
  }

  async #tearDown(key: string, { name, thread }: Hosted): Promise<Failure | null> {
    this.#hosted.delete(key);
    const why = await thread.tearDown();
    const { logger } = this.#options;
    if (why === null) logger.info(`plugin ${name} is torn down`);
    else logger.warn(`the teardown of plugin ${name} failed: ${why.message}`);
    return why;
  }

  #inTurn<Result>(act: () => Promise<Result>): Promise<Result> {
    const turn = this.#last.then(act).finally(() => this.#listen());
    this.#last = turn.catch(() => {});
    return turn;
  }

  #listen(): void {
    const threads = [...this.#hosted.values()].map(({ thread }) => thread);
    this.transitions.listeners = threads.filter((thread) => thread.wantsTransitions);
  }
}

function setupTimeoutOf(spec: Uint8Array): number | null {
  try {
    const value: unknown = decodeValue(spec);
    if (typeof value !== 'object' || value === null || !('code' in value)) return null;
    if (!('setupTimeoutMs' in value) || !('args' in value) || !Array.isArray(value.args))
      return null;
    const { setupTimeoutMs } = value;
    return typeof setupTimeoutMs === 'number' && setupTimeoutMs > 0 ? setupTimeoutMs : null;
  } catch {
    return null;
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

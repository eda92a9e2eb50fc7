import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';

import { type Failure, failure } from '@farm/protocol/core';
import { formatDuration, type Logger } from '@farm/protocol';
import { errorText } from '@farm/protocol/value';

import type { PackedFailure } from '../executors/threads/thread-messages.ts';
import type {
  PluginBoundMessage,
  PluginSaid,
  PluginThreadData,
  Transition,
} from './plugin-messages.ts';
import type { EnvironmentChanges } from './worker-plugin.ts';

const ENTRY = fileURLToPath(
  new URL(
    import.meta.url.endsWith('.ts') ? './plugin-main.ts' : './plugin-main.js',
    import.meta.url,
  ),
);

/** Transitions a plugin may be behind; it does not get to know those that come on top of them. */
const TRANSITIONS_BEHIND_MAX = 10_000;
/** Once it is that far behind no more, it is told how many it missed. */
const TRANSITIONS_BEHIND_AGAIN = 5_000;

type Call = 'setup' | 'teardown';

/** Options of {@link PluginThread}. */
export interface PluginThreadOptions extends PluginThreadData {
  readonly setupTimeoutMs: number;
  readonly teardownTimeoutMs: number;
  readonly logger: Logger;
  /** Changes the environment of the worker. */
  readonly setEnvironment: (changes: EnvironmentChanges) => void;
}

/** A plugin in its thread. Nothing the plugin does hurts anybody outside of that. */
export class PluginThread {
  readonly #options: PluginThreadOptions;
  readonly #worker: Worker;
  /** What is waited for, the end of the setup or of the teardown, and who waits. */
  readonly #waiting = new Map<Call, (why: Failure | null) => void>();
  #wantsTransitions = false;
  #isAlive = true;
  #isClosing = false;
  #behind = 0;
  #missed = 0;
  #crash: string | undefined;

  constructor(options: PluginThreadOptions) {
    this.#options = options;
    const { plugin, spec, worker } = options;
    const workerData: PluginThreadData = { plugin, spec, worker };
    this.#worker = new Worker(ENTRY, { workerData, name: `plugin ${plugin}`.slice(0, 60) });
    this.#worker.on('message', (said: PluginSaid) => this.#said(said));
    this.#worker.once('error', (error) => (this.#crash = errorText(error)));
    this.#worker.once('exit', (code) => this.#exited(code));
    this.#worker.unref();
  }

  /** Whether it wants to know what becomes of runs. */
  get wantsTransitions(): boolean {
    return this.#wantsTransitions && this.#isAlive && !this.#isClosing;
  }

  /** Whether its thread has not ended. */
  get isAlive(): boolean {
    return this.#isAlive;
  }

  /** Loads the plugin and sets it up. Resolves with why that failed: then its thread has ended. */
  async setUp(): Promise<Failure | null> {
    const why = await this.#call('setup', this.#options.setupTimeoutMs);
    if (why !== null) await this.#terminate();
    return why;
  }

  /** Tears it down, unless that takes too long, and ends its thread. Resolves with what failed. */
  async tearDown(): Promise<Failure | null> {
    this.#isClosing = true;
    if (!this.#isAlive) return null;
    const { teardownTimeoutMs } = this.#options;
    const why = await this.#call('teardown', teardownTimeoutMs);
    await this.#terminate();
    return why;
  }

  /** Tells it what became of runs. It may miss some where it does not keep up. */
  move(transitions: readonly Transition[]): void {
    if (this.#behind + transitions.length > TRANSITIONS_BEHIND_MAX) {
      this.#missed += transitions.length;
      return;
    }
    this.#behind += transitions.length;
    this.#post({ do: 'transitions', transitions });
  }

  /** Where the worker is reached has changed. */
  moveTo(address: string | null): void {
    this.#post({ do: 'address', address });
  }

  #call(what: Call, timeoutMs: number): Promise<Failure | null> {
    const { promise, resolve } = Promise.withResolvers<Failure | null>();
    if (!this.#isAlive) return Promise.resolve(this.#failure(`its thread has ended`));
    const timer = setTimeout(() => {
      const why = `its ${what} took longer than ${formatDuration(timeoutMs)}`;
      this.#ended(what, this.#failure(why));
    }, timeoutMs);
    this.#waiting.set(what, (why) => {
      clearTimeout(timer);
      resolve(why);
    });
    this.#post({ do: what });
    return promise;
  }

  #ended(what: Call, why: Failure | null): void {
    const ended = this.#waiting.get(what);
    this.#waiting.delete(what);
    ended?.(why);
  }

  #said(said: PluginSaid): void {
    const { logger, plugin } = this.#options;
    switch (said.say) {
      case 'setup-ended':
        this.#wantsTransitions = said.wantsTransitions;
        this.#ended('setup', this.#unpack(said.failure));
        break;
      case 'torn-down':
        this.#ended('teardown', this.#unpack(said.failure));
        break;
      case 'threw':
        logger.warn(`plugin ${plugin} threw in ${said.where}: ${said.text}`);
        break;
      case 'log':
        logger[said.level](`plugin ${plugin}: ${said.message}`);
        break;
      case 'environment':
        this.#options.setEnvironment(said.changes);
        this.#post({ do: 'environment-set', request: said.request });
        break;
      case 'transitions-seen':
        this.#behind -= said.count;
        if (this.#missed === 0 || this.#behind > TRANSITIONS_BEHIND_AGAIN) break;
        logger.warn(`plugin ${plugin} does not keep up: it missed ${this.#missed} transitions`);
        this.#missed = 0;
        break;
      default:
        said satisfies never;
    }
  }

  #unpack(packed: PackedFailure | null): Failure | null {
    if (packed === null) return null;
    return this.#failure(packed.message, packed.error, packed.name);
  }

  #failure(message: string, error: Uint8Array | null = null, name: string | null = null): Failure {
    return failure('ERR_PLUGIN', message, '', this.#options.worker.name, error, name);
  }

  #exited(code: number): void {
    this.#isAlive = false;
    const why = this.#crash ?? `exit code ${code}, as by process.exit(${code})`;
    const { logger, plugin } = this.#options;
    if (!this.#isClosing && this.#waiting.size === 0) {
      logger.error(`the thread of plugin ${plugin} ended: ${why}`);
    }
    for (const what of this.#waiting.keys()) {
      this.#ended(what, this.#failure(`its thread ended: ${why}`));
    }
  }

  #post(message: PluginBoundMessage): void {
    if (this.#isAlive) this.#worker.postMessage(message, []);
  }

  async #terminate(): Promise<void> {
    this.#isClosing = true;
    if (this.#isAlive) await this.#worker.terminate();
  }
}

/** The channel between a worker and its nanny, over which the nanny is told of its plugins. */
import type { ChildProcess } from 'node:child_process';

import { failure, type Failure } from '@farm/protocol';

import type { EnvironmentChanges } from '../plugins/worker-plugin.ts';
import type { NannyPlugins } from './nanny-plugins.ts';

interface SetNannyPlugin {
  readonly farm: 'set-plugin';
  readonly request: number;
  readonly name: string;
  readonly spec: Uint8Array | null;
}

interface NannyPluginSet extends NannyPluginAnswer {
  readonly farm: 'plugin-set';
  readonly request: number;
}

/** What a nanny answers. */
export interface NannyPluginAnswer {
  readonly failure: Failure | null;
  /** What the plugins of the nanny have changed in the environment of its worker, in all. */
  readonly environment: EnvironmentChanges;
}

/** A worker's end of the channel. */
export class NannyLink {
  readonly #pending = new Map<number, (answer: NannyPluginAnswer) => void>();
  readonly #workerName: string;
  #next = 0;

  private constructor(workerName: string) {
    this.#workerName = workerName;
    process.on('message', (message: unknown) => {
      if (!isOurs(message, 'plugin-set')) return;
      // SAFE: the nanny of this very package said it.
      const { request, ...answer } = message as NannyPluginSet;
      this.#pending.get(request)?.(answer);
      this.#pending.delete(request);
    });
    process.once('disconnect', () => {
      for (const answer of this.#pending.values()) answer(this.#gone());
      this.#pending.clear();
    });
    process.channel?.unref();
  }

  /** The way from this process to its nanny; undefined where it has none. */
  static open(workerName: string): NannyLink | undefined {
    return process.connected ? new NannyLink(workerName) : undefined;
  }

  /** Has the nanny set up a plugin, or tear it down. Never rejects. */
  setPlugin(name: string, spec: Uint8Array | null): Promise<NannyPluginAnswer> {
    const { promise, resolve } = Promise.withResolvers<NannyPluginAnswer>();
    const request = this.#next++;
    this.#pending.set(request, resolve);
    const message: SetNannyPlugin = { farm: 'set-plugin', request, name, spec };
    process.send?.(message, undefined, {}, (error) => {
      if (error === null || !this.#pending.delete(request)) return;
      resolve(this.#gone());
    });
    return promise;
  }

  #gone(): NannyPluginAnswer {
    const name = this.#workerName;
    const why = failure('ERR_PLUGIN', `the nanny of worker ${name} is gone`, '', name, null);
    return { failure: why, environment: {} };
  }
}

/** Has a nanny listen to its worker. */
export function serveNannyPlugins(child: ChildProcess, plugins: NannyPlugins): void {
  child.on('message', (message: unknown) => {
    if (!isOurs(message, 'set-plugin')) return;
    // SAFE: the worker of this very package said it.
    const { request, name, spec } = message as SetNannyPlugin;
    void plugins.set(name, spec).then((answer) => {
      const said: NannyPluginSet = { farm: 'plugin-set', request, ...answer };
      // It may have ended meanwhile.
      if (child.connected) child.send(said, () => {});
    });
  });
}

function isOurs(message: unknown, what: string): boolean {
  return (
    typeof message === 'object' && message !== null && 'farm' in message && message.farm === what
  );
}

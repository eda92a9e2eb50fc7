import type { ExecutorRun } from '../executor.ts';
import { resourceVariable } from '../../devices/device-environment.ts';
import type { CommandSite } from './command-site.ts';

/** Variables of a command's environment, in the order they are set. */
export type Variables = readonly (readonly [name: string, value: string])[];

/**
 * What a command finds in its environment on top of the worker's own: who it is, what it is granted
 * (`FARM_RESOURCE_<NAME>`, and what selects its devices), the directory it has for itself, and what
 * its task sets, which wins.
 */
export function taskEnvironment(
  { key, attempt, resources, devices }: ExecutorRun,
  workerName: string,
  own: Variables,
  directory?: string,
): Variables {
  return [
    ...resources
      .filter(([name]) => devices?.granted.every(([other]) => other !== name) ?? true)
      .map(([name, amount]) => [resourceVariable(name), String(amount)] as const),
    ...(devices?.variables ?? []),
    ['FARM_KEY', key],
    ['FARM_ATTEMPT', String(attempt)],
    ['FARM_WORKER', workerName],
    ...(directory === undefined ? [] : [['FARM_DIRECTORY', directory] as const]),
    ...own,
  ];
}

/** How old what was read of the worker's environment may be. */
const READ_AGAIN_MS = 100;

let changes = 0;

/**
 * To be called by what changes `process.env` of a worker while it runs: commands that start from
 * now on see the change. Without a call they do within 100 ms.
 */
export function environmentChanged(): void {
  changes++;
}

/** What commands inherit, as `NAME=value` texts: reading all of `process.env` takes a while. */
export class InheritedEnvironment {
  readonly #env: NodeJS.ProcessEnv;
  readonly #site: NonNullable<CommandSite['variables']>;
  #texts: readonly string[] = [];
  #readMs = -Infinity;
  #changes = -1;

  /** @param site - variables that the worker's site changes; undefined removes one */
  constructor(env: NodeJS.ProcessEnv, site: CommandSite['variables'] = {}) {
    this.#env = env;
    this.#site = site;
  }

  record(): NodeJS.ProcessEnv {
    return { ...this.#env, ...this.#site };
  }

  texts(): readonly string[] {
    const nowMs = performance.now();
    if (this.#changes === changes && nowMs - this.#readMs < READ_AGAIN_MS) return this.#texts;
    this.#changes = changes;
    this.#readMs = nowMs;
    const texts: string[] = [];
    for (const [name, value] of Object.entries(this.record())) {
      if (value !== undefined) texts.push(`${name}=${value}`);
    }
    this.#texts = texts;
    return texts;
  }
}

import type { ExecutorRun } from '../executor.ts';

/** Variables of a command's environment, in the order they are set. */
export type Variables = readonly (readonly [name: string, value: string])[];

/**
 * What a command finds in its environment on top of the worker's own: who it is, what it is granted
 * (`FARM_RESOURCE_<NAME>`), and what its task sets, which wins.
 */
export function taskEnvironment(
  { key, attempt, resources }: ExecutorRun,
  workerName: string,
  own: Variables,
): Variables {
  return [
    ...resources.map(([name, amount]) => [resourceVariable(name), String(amount)] as const),
    ['FARM_KEY', key],
    ['FARM_ATTEMPT', String(attempt)],
    ['FARM_WORKER', workerName],
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
  #texts: readonly string[] = [];
  #readMs = -Infinity;
  #changes = -1;

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
  }

  texts(): readonly string[] {
    const nowMs = performance.now();
    if (this.#changes === changes && nowMs - this.#readMs < READ_AGAIN_MS) return this.#texts;
    this.#changes = changes;
    this.#readMs = nowMs;
    const texts: string[] = [];
    for (const [name, value] of Object.entries(this.#env)) {
      if (value !== undefined) texts.push(`${name}=${value}`);
    }
    this.#texts = texts;
    return texts;
  }
}

function resourceVariable(name: string): string {
  return `FARM_RESOURCE_${name.toUpperCase().replaceAll(/[^A-Z0-9_]/g, '_')}`;
}

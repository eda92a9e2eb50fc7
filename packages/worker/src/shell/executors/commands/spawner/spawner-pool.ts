import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';

import { Spawner } from './spawner.ts';

/** More would not start more commands: each start takes most of a core for a moment. */
const SPAWNERS_MAX = 4;

/** Options of a {@link SpawnerPool}. */
export interface SpawnerPoolOptions {
  readonly slots: number;
  /** CPUs that what is started for each slot is bound to. @default none */
  readonly slotCpus?: readonly string[] | undefined;
  /** Directory where Python is looked for first; null for none. @default '/usr/bin' */
  readonly system?: string | null;
  /** Where to look for Python then. @default PATH of this process */
  readonly path?: string;
}

/**
 * The spawners of a worker, each started with the first command of one of its slots. Where no
 * usable Python is found there are none, and commands are started by Node.
 */
export class SpawnerPool {
  readonly #spawners: (Spawner | Promise<Spawner | undefined> | undefined)[];
  readonly #python: string | undefined;
  readonly #slotCpus: readonly string[] | undefined;
  #isUsable: boolean;

  constructor({
    slots,
    slotCpus,
    system = '/usr/bin',
    path = process.env['PATH'] ?? '',
  }: SpawnerPoolOptions) {
    // What a bound spawner starts is bound like it: then each slot has its own.
    const count = slotCpus === undefined ? Math.min(slots, SPAWNERS_MAX) : slots;
    this.#spawners = Array.from({ length: count }, () => undefined);
    this.#slotCpus = slotCpus;
    this.#python = findPython([system ?? '', ...path.split(delimiter)]);
    this.#isUsable = this.#python !== undefined;
  }

  /** The spawner of a slot; undefined where there is none and there will be none. */
  get(slot: number): Spawner | undefined | Promise<Spawner | undefined> {
    if (!this.#isUsable || this.#python === undefined) return undefined;
    const index = slot % this.#spawners.length;
    const found = this.#spawners[index];
    if (found instanceof Promise || found?.isAlive === true) return found;
    const starting = Spawner.start(this.#python, this.#slotCpus?.[index]).then((spawner) => {
      this.#spawners[index] = spawner;
      if (spawner === undefined) this.#isUsable = false;
      return spawner;
    });
    this.#spawners[index] = starting;
    return starting;
  }

  /** Sets what all commands inherit that begin from now on. */
  inherit(inherited: readonly string[]): void {
    for (const spawner of this.#spawners) {
      if (spawner instanceof Spawner) spawner.inherit(inherited);
    }
  }

  /** Lets them end. */
  async close(): Promise<void> {
    this.#isUsable = false;
    const spawners = await Promise.all(this.#spawners.map(async (spawner) => spawner));
    for (const spawner of spawners) spawner?.close();
  }
}

/** The system's own Python is best: it is local, where one in PATH may be a slow script. */
function findPython(directories: readonly string[]): string | undefined {
  const absolute = directories.filter((directory) => directory.startsWith('/'));
  return absolute.map((directory) => join(directory, 'python3')).find((path) => existsSync(path));
}

import type { StoryEntry, TaskStateName } from '@farm/protocol/core';

import { indexOfKey, type Naming } from './naming.ts';

/** Is told of each entry; the parameters are those of {@link Story.add}. */
export type StoryObserver = (...entry: Parameters<Story['add']>) => void;

/** In the column of runs: none. */
const NO_RUN = 0;

/**
 * The last transitions of all tasks, oldest overwritten first. Writing one allocates nothing once
 * the log is full; keys are put together only when they are asked for. It is kept in columns: an
 * entry is written several times for each task, and goes beside the one before.
 */
export class Story {
  /** Null while nobody wants to know. */
  observer: StoryObserver | null = null;
  readonly #namings: Naming[] = [];
  readonly #indices: number[] = [];
  readonly #ends: number[] = [];
  readonly #froms: TaskStateName[] = [];
  readonly #tos: TaskStateName[] = [];
  readonly #causes: string[] = [];
  readonly #runs: number[] = [];
  readonly #workers: (string | null)[] = [];
  readonly #atMs: number[] = [];
  readonly #entriesMax: number;
  #next = 0;

  constructor(entriesMax: number) {
    this.#entriesMax = entriesMax;
  }

  /** Writes one transition down, of the tasks from `index` up to `end`. */
  add(
    naming: Naming,
    index: number,
    end: number,
    from: TaskStateName,
    to: TaskStateName,
    cause: string,
    run: number | null,
    worker: string | null,
    atMs: number,
  ): void {
    this.observer?.(naming, index, end, from, to, cause, run, worker, atMs);
    const at = this.#next;
    this.#next = at + 1 === this.#entriesMax ? 0 : at + 1;
    this.#namings[at] = naming;
    this.#indices[at] = index;
    this.#ends[at] = end;
    this.#froms[at] = from;
    this.#tos[at] = to;
    this.#causes[at] = cause;
    this.#runs[at] = run ?? NO_RUN;
    this.#workers[at] = worker;
    this.#atMs[at] = atMs;
  }

  /** What happened to a key, oldest first. */
  of(key: string): StoryEntry[] {
    const found: StoryEntry[] = [];
    const { length } = this.#namings;
    const oldest = length < this.#entriesMax ? 0 : this.#next;
    for (let step = 0; step < length; step++) {
      const at = (oldest + step) % length;
      if (!this.#isAbout(at, key)) continue;
      const from = this.#froms[at];
      const to = this.#tos[at];
      if (from === undefined || to === undefined) continue;
      const run = this.#runs[at] ?? NO_RUN;
      found.push({
        key,
        from,
        to,
        cause: this.#causes[at] ?? '',
        run: run === NO_RUN ? null : run,
        worker: this.#workers[at] ?? null,
        atMs: this.#atMs[at] ?? 0,
      });
    }
    return found;
  }

  #isAbout(at: number, key: string): boolean {
    const naming = this.#namings[at];
    // Most entries are about other functions: that is seen without taking the key apart.
    if (naming === undefined || !key.startsWith(naming.key)) return false;
    const found = indexOfKey(naming, key);
    return found !== null && found >= (this.#indices[at] ?? 0) && found < (this.#ends[at] ?? 0);
  }
}

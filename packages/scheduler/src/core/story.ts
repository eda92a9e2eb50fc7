import type { StoryEntry, TaskStateName } from '@farm/protocol/core';

import { indexOfKey, type Naming } from './naming.ts';

/** One transition of the tasks from `index` up to `end` of a block. */
interface Entry {
  naming: Naming;
  index: number;
  end: number;
  from: TaskStateName;
  to: TaskStateName;
  cause: string;
  run: number | null;
  worker: string | null;
  atMs: number;
}

/** Is told of each entry; the parameters are those of {@link Story.add}. */
export type StoryObserver = (...entry: Parameters<Story['add']>) => void;

/**
 * The last transitions of all tasks, oldest overwritten first. Writing one allocates nothing once
 * the log is full; keys are put together only when they are asked for.
 */
export class Story {
  /** Null while nobody wants to know. */
  observer: StoryObserver | null = null;
  readonly #entries: Entry[] = [];
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
    const entry = this.#entries[at];
    if (entry === undefined) {
      this.#entries.push({ naming, index, end, from, to, cause, run, worker, atMs });
      return;
    }
    entry.naming = naming;
    entry.index = index;
    entry.end = end;
    entry.from = from;
    entry.to = to;
    entry.cause = cause;
    entry.run = run;
    entry.worker = worker;
    entry.atMs = atMs;
  }

  /** What happened to a key, oldest first. */
  of(key: string): StoryEntry[] {
    const found: StoryEntry[] = [];
    const { length } = this.#entries;
    const oldest = length < this.#entriesMax ? 0 : this.#next;
    for (let step = 0; step < length; step++) {
      const entry = this.#entries[(oldest + step) % length];
      if (entry === undefined || !isAbout(entry, key)) continue;
      const { from, to, cause, run, worker, atMs } = entry;
      found.push({ key, from, to, cause, run, worker, atMs });
    }
    return found;
  }
}

function isAbout({ naming, index, end }: Entry, key: string): boolean {
  // Most entries are about other functions: that is seen without taking the key apart.
  if (!key.startsWith(naming.key)) return false;
  const found = indexOfKey(naming, key);
  return found !== null && found >= index && found < end;
}

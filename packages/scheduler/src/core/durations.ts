import type { TaskStateName } from '@farm/protocol/core';

import type { Block } from './state.ts';
import { countInSpan } from './spans.ts';
import { addTasks, noTasks } from './task-counts.ts';
import type { TaskCounts } from './task-counts.ts';
import type { Tables } from './tables.ts';

/** How many prefixes are remembered; unused ones that were heard of longest ago are forgotten. */
const PREFIXES_MAX = 10_000;

/** What is known of the tasks of one function: how long they run, and how far they are. */
export class Prefix {
  readonly name: string;
  /** Moving average, whole microseconds; null before the first task ended, or while in doubt. */
  meanUs: number | null = null;
  /** The same, whatever is in doubt. */
  typicalUs: number | null = null;
  /** The same of the results' sizes; null before the first task ended. */
  meanBytes: number | null = null;
  /** Known tasks by state. */
  readonly counts: TaskCounts = noTasks();
  /** Runs that ended well since the scheduler's start. */
  finished = 0;
  /** Functions of this name. */
  functions = 0;

  constructor(name: string) {
    this.name = name;
  }

  /**
   * Learns from `count` tasks that took `totalUs` together and made `totalBytes`. Exponential
   * average, half old and half new (as Dask's); tasks reported together count as one sample, so
   * that one outlier is not the last word.
   */
  learn(totalUs: number, totalBytes: number, count: number): void {
    this.finished += count;
    this.meanUs = average(this.meanUs, totalUs / count);
    this.typicalUs = average(this.typicalUs, totalUs / count);
    this.meanBytes = average(this.meanBytes, totalBytes / count);
  }

  /** A task took far longer than expected: the next ones are explored anew. */
  doubt(): void {
    this.meanUs = null;
  }
}

/** Duration estimates by function name. They outlive the tasks, and are bounded in number. */
export class Durations {
  readonly #prefixes = new Map<string, Prefix>();

  /** The estimate for a name, made where there is none. */
  get(name: string): Prefix {
    let prefix = this.#prefixes.get(name);
    if (prefix === undefined) prefix = new Prefix(name);
    else this.#prefixes.delete(name);
    this.#prefixes.set(name, prefix);
    if (this.#prefixes.size > PREFIXES_MAX) this.#forgetOne(prefix);
    return prefix;
  }

  /** All of them, the one that was heard of last first. */
  latest(): Prefix[] {
    return [...this.#prefixes.values()].toReversed();
  }

  #forgetOne(newest: Prefix): void {
    for (const [name, { functions }] of this.#prefixes) {
      if (functions > 0 || name === newest.name) continue;
      this.#prefixes.delete(name);
      return;
    }
  }
}

/** Tasks of a block change their state, or, with `from` null, are new. */
export function countTasks(
  tables: Tables,
  { fn, span }: Block,
  from: TaskStateName | null,
  to: TaskStateName,
  count: number,
): void {
  const { counts } = fn.prefix;
  if (span !== null) countInSpan(span, from, to, count, tables.nowMs);
  if (from !== null) {
    addTasks(tables.counts, from, -count);
    addTasks(counts, from, -count);
  }
  if (to === 'forgotten') return;
  addTasks(tables.counts, to, count);
  addTasks(counts, to, count);
}

function average(mean: number | null, sample: number): number {
  return Math.max(1, Math.round(mean === null ? sample : (mean + sample) / 2));
}

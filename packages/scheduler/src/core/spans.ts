/** Spans: names that users give to parts of their work, to see how far each has come. */
import { LIMITS } from '@farm/protocol/core';
import type { SpanInfo, TaskStateName } from '@farm/protocol/core';

import { noTasks } from './task-counts.ts';
import type { TaskCounts } from './task-counts.ts';

/** Tasks that were submitted under one path of names. */
export interface Span {
  readonly path: readonly string[];
  /** Forgotten ones are counted too: all together, those submitted so far. */
  readonly tasks: TaskCounts;
  readonly startMs: number;
  /** When a task of it changed its state last. */
  lastMs: number;
  /** What its tasks have run, as far as they ended well. */
  computeUs: number;
}

/** The spans there were, bounded in number: those without tasks go first, the oldest at that. */
export class SpanTable {
  readonly #spans = new Map<string, Span>();

  /** The span of a path; null for the empty path, and where all spans there can be have tasks. */
  get(path: readonly string[], nowMs: number): Span | null {
    if (path.length === 0) return null;
    const id = JSON.stringify(path);
    const present = this.#spans.get(id);
    if (present !== undefined) return present;
    if (this.#spans.size >= LIMITS.spansMax && !this.#forgetOne()) return null;
    const span: Span = { path, tasks: noTasks(), startMs: nowMs, lastMs: nowMs, computeUs: 0 };
    this.#spans.set(id, span);
    return span;
  }

  /** The spans in order of their first task. */
  [Symbol.iterator](): Iterator<Span> {
    return this.#spans.values();
  }

  #forgetOne(): boolean {
    for (const [id, { tasks }] of this.#spans)
      if (known(tasks) === 0) return this.#spans.delete(id);
    return false;
  }
}

/** Tasks of a span change their state, or, with `from` null, are new. */
export function countInSpan(
  span: Span,
  from: TaskStateName | null,
  to: TaskStateName,
  count: number,
  nowMs: number,
): void {
  if (from !== null) span.tasks[from] -= count;
  span.tasks[to] += count;
  // What is forgotten had ended, or was given up before.
  if (to !== 'forgotten') span.lastMs = nowMs;
}

/** The spans at and below a path, each with all that is below it. */
export function spansBelow(spans: SpanTable, path: readonly string[]): SpanInfo[] {
  const found = new Map<string, Span>();
  for (const span of spans) {
    if (!path.every((name, at) => span.path[at] === name)) continue;
    for (let depth = Math.max(1, path.length); depth <= span.path.length; depth++) {
      const part = span.path.slice(0, depth);
      const id = JSON.stringify(part);
      found.set(id, joined(part, found.get(id), span));
    }
  }
  return [...found.values()].map((span) => {
    const { waiting, queued, processing, 'no-worker': unrunnable } = span.tasks;
    const isOver = waiting + queued + processing + unrunnable === 0;
    return {
      path: span.path,
      tasks: span.tasks,
      startMs: span.startMs,
      stopMs: isOver ? span.lastMs : null,
      computeMs: span.computeUs / 1_000,
    };
  });
}

function joined(path: readonly string[], sum: Span | undefined, more: Span): Span {
  const tasks = noTasks();
  // SAFE: the keys of counts by state are names of states.
  for (const state of Object.keys(tasks) as TaskStateName[]) {
    tasks[state] = (sum?.tasks[state] ?? 0) + more.tasks[state];
  }
  return {
    path,
    tasks,
    startMs: Math.min(sum?.startMs ?? Infinity, more.startMs),
    lastMs: Math.max(sum?.lastMs ?? 0, more.lastMs),
    computeUs: (sum?.computeUs ?? 0) + more.computeUs,
  };
}

function known(tasks: TaskCounts): number {
  let count = -tasks.forgotten;
  for (const each of Object.values(tasks)) count += each;
  return count;
}

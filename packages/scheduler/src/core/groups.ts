/** How far each `map`, and what was submitted of each function, has come. */
import type { GroupInfo } from '@farm/protocol/core';

import { noTasks } from './task-counts.ts';
import type { TaskCounts } from './task-counts.ts';
import { recordsOf } from './state.ts';
import type { Block } from './state.ts';
import type { Tables } from './tables.ts';

/** Groups that are told. */
const GROUPS_MAX = 1_000;

interface Group {
  readonly key: string;
  readonly fn: string;
  readonly tasks: TaskCounts;
  bytes: number;
  computeUs: number;
}

/**
 * The groups that have tasks, the latest first, at most 1000. Tasks with numbered keys are a group
 * by what is before the number; others are one with those that run the same function. Takes time
 * by the number of tasks, so it is counted only when somebody asks.
 */
export function groups(tables: Tables, keys: readonly string[]): GroupInfo[] {
  const wanted = keys.length === 0 ? null : new Set(keys);
  const found = new Map<string, Group>();
  for (const block of [...tables.blocks].toReversed()) {
    const { fn, naming } = block;
    if (block.isScattered) continue;
    const key = naming.indexFrom === null ? fn.name : naming.key;
    if (wanted?.has(key) === false) continue;
    // A function's name and a map's key may be the same, and are not the same group.
    const id = `${naming.indexFrom === null ? 'function' : 'map'} ${key}`;
    let group = found.get(id);
    if (group === undefined) {
      if (found.size >= GROUPS_MAX) continue;
      group = { key, fn: fn.name, tasks: noTasks(), bytes: 0, computeUs: 0 };
      found.set(id, group);
    }
    count(block, group);
  }
  return [...found.values()].map(({ key, fn, tasks, bytes, computeUs }) => ({
    key,
    fn,
    tasks,
    bytes,
    computeMs: computeUs / 1_000,
  }));
}

function count(block: Block, group: Group): void {
  const { tasks } = group;
  tasks.forgotten += block.count - block.alive;
  tasks[block.requirement.fits.size > 0 ? 'queued' : 'no-worker'] += block.unmade;
  // Sparse: tasks without a record are passed over.
  recordsOf(block).forEach((task) => {
    if (task === undefined) return;
    tasks[task.state] += 1;
    if (task.state !== 'memory') return;
    group.bytes += task.size;
    group.computeUs += task.durationUs;
  });
}

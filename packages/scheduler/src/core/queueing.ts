import { entryOf, entryOfBlock } from './order.ts';
import { joinLane } from './ready-queue.ts';
import { flagsOf, GONE, recordAt, recordsOf, requirementOf } from './state.ts';
import type { Block, QueueEntry, Requirement, TaskState } from './state.ts';
import type { Tables } from './tables.ts';

/** Puts a task that is ready into the queue of its requirement. */
export function enqueue(tables: Tables, task: TaskState): void {
  const requirement = requirementOf(task);
  requirement.queue.push(entryOf(tables, task));
  added(tables, task.block, requirement, 1);
}

/** Puts all tasks of a new block into the queue, as one entry. */
export function enqueueBlock(tables: Tables, block: Block): void {
  const { requirement, count } = block;
  block.cursor = 0;
  block.unmade = count;
  requirement.queue.push(entryOfBlock(block));
  added(tables, block, requirement, count);
}

/** Takes a task out. Its entry stays and is skipped. */
export function dequeue(tables: Tables, task: TaskState): void {
  task.ticket = 0;
  removed(tables, requirementOf(task));
}

/** Takes a task without record out; the block's entry skips it. */
export function dequeueUnmade(tables: Tables, block: Block): void {
  block.unmade -= 1;
  removed(tables, block.requirement);
}

/**
 * The first entry with a task to place; null where nothing is ready. A block's cursor is left at
 * the task that is next.
 */
export function headOf(requirement: Requirement): QueueEntry | null {
  for (;;) {
    const entry = requirement.queue.peek();
    if (entry === undefined) return null;
    const { task, block } = entry;
    if (task === null ? nextInBlock(block) !== null : task.ticket === entry.ticket) return entry;
    requirement.queue.pop();
  }
}

/** Moves a block's cursor to its next queued task; null where there is none left. */
export function nextInBlock(block: Block): number | null {
  for (; block.cursor < block.count; block.cursor++) {
    if (isInBlockQueue(block, block.cursor)) return block.cursor;
  }
  return null;
}

/** Whether the task is queued by the block's entry. */
export function isInBlockQueue(block: Block, index: number): boolean {
  const task = recordAt(block, index);
  if (task === undefined) return (flagsOf(block, index) & GONE) === 0;
  return task.ticket === 0 && (task.state === 'queued' || task.state === 'no-worker');
}

/** Visits what waits in a queue: tasks with a record one by one, those without by block. */
export function eachReadyTask(
  requirement: Requirement,
  visit: {
    readonly task: (task: TaskState) => void;
    readonly unmade: (block: Block) => void;
  },
): void {
  for (const entry of requirement.queue.items()) {
    const { task, block } = entry;
    if (task !== null) {
      if (task.ticket === entry.ticket) visit.task(task);
      continue;
    }
    if (block.unmade > 0) visit.unmade(block);
    for (const own of recordsOf(block)) {
      if (own !== undefined && isInBlockQueue(block, own.index)) visit.task(own);
    }
  }
}

function added(tables: Tables, block: Block, requirement: Requirement, count: number): void {
  joinLane(tables, block);
  requirement.ready += count;
  requirement.isFresh = true;
  tables.needsPlacement = true;
}

function removed(tables: Tables, requirement: Requirement): void {
  requirement.ready -= 1;
  if (requirement.ready > 0) return;
  requirement.queue.clear();
  requirement.isFresh = false;
  requirement.blockedSinceMs = null;
  if (requirement.reserved === null) return;
  // What was kept clear is there for others now.
  tables.dirty.add(requirement.reserved);
  tables.needsPlacement = true;
  requirement.reserved = null;
}

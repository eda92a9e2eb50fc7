/**
 * Speculative copies of stragglers, for tasks whose submitter asked for them: a task that has run
 * for much longer than its like is started a second time on another worker, where nothing else
 * needs the room. Whichever run ends well first gives the result, see `copy-runs.ts`. (After the
 * backup tasks of MapReduce, Dean and Ghemawat 2004.)
 */
import { formatDuration } from '@farm/protocol/core';

import { noteRun } from './copy-runs.ts';
import { tellFunction } from './functions.ts';
import { canHold, inputBytes } from './input-size.ts';
import { chargeLane } from './ready-queue.ts';
import { isReserved } from './requirements.ts';
import type { Assignment, TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { bringUs } from './transfer.ts';
import { troubleOf } from './transitions.ts';
import { beginRun, fitsNow } from './workload.ts';

/** Tasks of a prefix that must have ended well before any of them counts as slow. */
const KNOWN_MIN = 3;
/** Copies of one task that are begun, over its whole life. */
const COPIES_MAX = 3;
/** Stragglers looked at in one round, and idle workers looked at for one of them. */
const STRAGGLERS_MAX = 32;
const WORKERS_MAX = 32;

/** The worker says that it executes a run of a task that may be copied, for so long. */
export function noteStraggler(tables: Tables, assignment: Assignment, elapsedUs: number): void {
  const { task } = assignment;
  const speculate = task?.block.speculate ?? null;
  if (task === null || speculate === null) return;
  const [factor, minMs] = speculate;
  const { typicalUs, finished } = task.block.fn.prefix;
  if (typicalUs === null || finished < KNOWN_MIN) return;
  if (elapsedUs <= Math.max(minMs * 1_000, factor * typicalUs)) return;
  if (!mayCopy(assignment)) return;
  tables.stragglers.add(assignment);
}

/** Begins copies of stragglers on workers that have room for nothing else. Call it after placement. */
export function speculate(tables: Tables): void {
  const { stragglers, idle, closing } = tables;
  if (stragglers.size === 0 || idle.size === 0 || closing !== null) return;
  let looked = 0;
  for (const straggler of stragglers) {
    const { task } = straggler;
    if (task === null || !mayCopy(straggler)) {
      stragglers.delete(straggler);
      continue;
    }
    if (looked++ >= STRAGGLERS_MAX) return;
    const worker = findWorker(tables, straggler, task);
    if (worker === null) continue;
    stragglers.delete(straggler);
    beginCopy(tables, straggler, task, worker);
  }
}

/** Whether the run is its task's only one, and the task may be copied once more. */
function mayCopy(assignment: Assignment): boolean {
  const { task } = assignment;
  if (task === null || task.assignment !== assignment || assignment.isSeceded) return false;
  const { trouble } = task;
  return trouble === null || (trouble.copy === null && trouble.copies < COPIES_MAX);
}

/** Of those with room, the worker on which it would end first: on another machine, all else equal. */
function findWorker(tables: Tables, straggler: Assignment, task: TaskState): WorkerState | null {
  const { requirement } = straggler;
  const { fits } = requirement;
  const bytes = inputBytes(task);
  const { host } = straggler.worker.hello;
  // Where the machine is what is slow, a worker beside the first would take as long.
  const besideUs = task.block.fn.prefix.typicalUs ?? 0;
  let best: WorkerState | null = null;
  let bestUs = Infinity;
  let looked = 0;
  for (const worker of fits.size < tables.idle.size ? fits : tables.idle) {
    if (worker === straggler.worker || worker === task.trouble?.avoided) continue;
    // What is ready and fits has been placed; what is on its way here is to find its room.
    if (!fits.has(worker) || !fitsNow(worker, requirement) || worker.incomingRuns > 0) continue;
    if (isReserved(tables, worker) || !canHold(worker, bytes)) continue;
    const us = bringUs(tables, task, worker) + (worker.hello.host === host ? besideUs : 0);
    if (us < bestUs) {
      best = worker;
      bestUs = us;
    }
    if (looked++ >= WORKERS_MAX) break;
  }
  return best;
}

function beginCopy(
  tables: Tables,
  { executingSinceMs, worker: first }: Assignment,
  task: TaskState,
  worker: WorkerState,
): void {
  const { block } = task;
  const trouble = troubleOf(task);
  chargeLane(tables, block);
  const copy = beginRun(tables, task, worker);
  trouble.copy = copy;
  trouble.copies += 1;
  tables.runsCopied += 1;
  tellFunction(tables, worker, block.fn);
  tables.outbox.run(copy, task);
  const elapsed = formatDuration(tables.nowMs - (executingSinceMs ?? tables.nowMs));
  const cause = `started once more, since it has run on worker ${first.name} for ${elapsed}`;
  noteRun(tables, task, cause, copy.run, worker);
}

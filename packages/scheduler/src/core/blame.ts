/** Who is blamed for the death of a worker, and what becomes of those that are. */
import { failure } from '@farm/protocol/core';
import type { WorkerHello } from '@farm/protocol/core';

import { hasOtherRun } from './copy-runs.ts';
import { deathId } from './deaths.ts';
import type { Death } from './deaths.ts';
import { delay, endDelay } from './delays.ts';
import type { Assignment, TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { fail, sendBack, troubleOf } from './transitions.ts';

/**
 * A run was interrupted since its worker is gone. The task runs again, unless it must not, or has
 * seen too many workers die: then it is given up, at once or as soon as the nanny has told more.
 *
 * @param death - The death it is blamed for; null where it is not.
 */
export function interrupt(
  tables: Tables,
  task: TaskState,
  worker: WorkerState,
  death: Death | null,
): void {
  const trouble = troubleOf(task);
  if (death !== null) trouble.deaths.push(death);
  if (hasOtherRun(tables, task, worker, `worker ${worker.name} was lost`)) return;
  if (!task.block.rerunOnLoss) {
    const { key } = task;
    const why =
      `${key} may have run on ${worker.name} when that worker was lost, and must not run twice ` +
      '(rerunOnLoss is false): look at what it did, then submit it anew';
    fail(tables, task, failure('ERR_KILLED_WORKER', why, key, worker.name, null));
    return;
  }
  const { allowedFailures, deathDetailsMs } = tables.config;
  if (death !== null && trouble.deaths.length > allowedFailures) {
    trouble.isCondemned = true;
    if (worker.hello.nanny && deathDetailsMs > 0) {
      death.condemned.add(task);
      delay(tables, task, tables.nowMs + deathDetailsMs);
    }
  }
  sendBack(tables, task);
}

/**
 * The runs that may have killed the worker: those it said it executes, and, since a deadly run may
 * be over before the next heartbeat, those that were next in line for its other slots.
 */
export function findSuspects(worker: WorkerState, runs: readonly Assignment[]): Set<Assignment> {
  const suspects = new Set(runs.filter(({ isExecuting }) => isExecuting));
  let threads = 0;
  for (const { requirement, isSeceded } of suspects) {
    if (!isSeceded) threads += requirement.threads;
  }
  for (const assignment of runs) {
    if (threads >= worker.nthreads) break;
    if (suspects.has(assignment)) continue;
    suspects.add(assignment);
    threads += assignment.requirement.threads;
  }
  return suspects;
}

/** A nanny's new worker tells how the one before it died. */
export function describeDeath(tables: Tables, { host, previousDeath }: WorkerHello): void {
  if (previousDeath === undefined || previousDeath === null) return;
  const id = deathId(host, previousDeath.pid);
  const death = tables.deaths.get(id);
  if (death === undefined) return;
  tables.deaths.delete(id);
  death.told = previousDeath;
  death.rssBytes = previousDeath.rssBytes ?? death.rssBytes;
  for (const task of death.condemned) {
    if (task.trouble?.deaths.at(-1) === death) endDelay(tables, task);
  }
  death.condemned.clear();
}

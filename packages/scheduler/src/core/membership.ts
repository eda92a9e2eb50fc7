/** Workers come and go. */
import { closeWorker, failure } from '@farm/protocol/core';
import type { WorkerHello } from '@farm/protocol/core';

import { eachReadyTask } from './queueing.ts';
import { removeHolder, isHeld } from './replicas.ts';
import { matchWorker, unmatchWorker } from './requirements.ts';
import { ResourcePool } from './resources.ts';
import { WorkerState } from './state.ts';
import type { Assignment, Requirement, TaskState } from './state.ts';
import type { Tables } from './tables.ts';
import { fail, review, sendBack, troubleOf } from './transitions.ts';
import { acceptRuns, refuseRuns } from './workload.ts';

/** A worker has connected. One whose name is taken or whose hello is senseless is sent away. */
export function addWorker(tables: Tables, session: string, hello: WorkerHello): void {
  const { outbox } = tables;
  const refusal = findRefusal(tables, hello);
  if (refusal !== null) {
    const worker = new WorkerState(session, hello, new ResourcePool([]), tables.nowMs);
    outbox.toWorker(worker, closeWorker(refusal));
    outbox.instruct({ do: 'drop-worker', worker: session, reason: refusal });
    return;
  }
  const worker = new WorkerState(session, hello, new ResourcePool(hello.resources), tables.nowMs);
  tables.workers.set(session, worker);
  tables.workersByName.set(worker.name, worker);
  for (const requirement of tables.requirements.values()) {
    if (matchWorker(requirement, worker)) reconsiderQueue(tables, requirement, 'queued');
  }
  acceptRuns(tables, worker);
  const message = `worker ${worker.name} joined with ${worker.nthreads} threads`;
  outbox.instruct({ do: 'log', level: 'info', message });
}

/** A worker leaves on purpose: it gets nothing new, and nothing it ran is blamed. */
export function retireWorker(tables: Tables, worker: WorkerState): void {
  if (worker.isLeaving) return;
  refuseRuns(tables, worker);
  for (const requirement of tables.requirements.values()) {
    if (unmatchWorker(requirement, worker)) reconsiderQueue(tables, requirement, 'no-worker');
  }
}

/** A worker is gone: what it ran is run elsewhere, what only it held is computed again. */
export function removeWorker(tables: Tables, worker: WorkerState, reason: string): void {
  tables.cause = `worker ${worker.name} lost: ${reason}`;
  const wasLeaving = worker.isLeaving;
  retireWorker(tables, worker);
  tables.workers.delete(worker.session);
  tables.workersByName.delete(worker.name);
  tables.outbox.forgetWorker(worker);
  const lost = loseResults(tables, worker);
  const runs = [...worker.runs.values()];
  const suspects = wasLeaving ? new Set<Assignment>() : findSuspects(worker, runs);
  worker.runs.clear();
  let interrupted = 0;
  for (const assignment of runs) {
    const { task } = assignment;
    if (task === null) continue;
    interrupted += 1;
    const trouble = troubleOf(task);
    if (suspects.has(assignment)) trouble.deaths.push(`${worker.name} (${reason})`);
    if (trouble.deaths.length > tables.config.allowedFailures) condemn(tables, task, worker);
    else sendBack(tables, task);
  }
  const message =
    `worker ${worker.name} left: ${reason}; ${interrupted} runs and ${lost} results are to be ` +
    'done again';
  const level = wasLeaving && interrupted + lost === 0 ? 'info' : 'warn';
  tables.outbox.instruct({ do: 'log', level, message });
}

/** Returns how many results are nowhere else. */
function loseResults(tables: Tables, worker: WorkerState): number {
  let lost = 0;
  for (const task of [...worker.holds]) {
    removeHolder(task, worker);
    if (isHeld(task)) continue;
    lost += 1;
    review(tables, task);
  }
  return lost;
}

/**
 * The runs that may have killed the worker: those it said it executes, and, since a deadly run may
 * be over before the next heartbeat, those that were next in line for its other slots.
 */
function findSuspects(worker: WorkerState, runs: readonly Assignment[]): Set<Assignment> {
  const suspects = new Set(runs.filter(({ isExecuting }) => isExecuting));
  let threads = 0;
  for (const { requirement } of suspects) threads += requirement.threads;
  for (const assignment of runs) {
    if (threads >= worker.nthreads) break;
    if (suspects.has(assignment)) continue;
    suspects.add(assignment);
    threads += assignment.requirement.threads;
  }
  return suspects;
}

function condemn(tables: Tables, task: TaskState, worker: WorkerState): void {
  const { key } = task;
  const deaths = task.trouble?.deaths ?? [];
  const why =
    `${key} was running on ${deaths.length} workers when they died: ${deaths.join('; ')}. ` +
    'Look at their logs: it may take more memory than they have, or crash them';
  fail(tables, task, failure('ERR_KILLED_WORKER', why, key, worker.name, null));
}

/** The first worker that fits has come, or the last has gone: ready tasks change their state. */
function reconsiderQueue(
  tables: Tables,
  requirement: Requirement,
  to: 'queued' | 'no-worker',
): void {
  const from = to === 'queued' ? 'no-worker' : 'queued';
  const { counts, story, cause, nowMs } = tables;
  eachReadyTask(requirement, {
    task: (task) => review(tables, task),
    unmade: ({ naming, unmade, cursor, count }) => {
      counts[from] -= unmade;
      counts[to] += unmade;
      story.add(naming, cursor, count, from, to, cause, null, null, nowMs);
    },
  });
}

/** Why a worker cannot join now; null where it can. */
export function findRefusal(tables: Tables, { name, nthreads }: WorkerHello): string | null {
  if (tables.closing !== null) return `the scheduler is closing: ${tables.closing.reason}`;
  if (tables.workersByName.has(name)) {
    return `a worker named ${name} is connected already: choose another --name`;
  }
  if (!Number.isSafeInteger(nthreads) || nthreads < 1) {
    return `worker ${name} has ${nthreads} threads: give a whole number from 1`;
  }
  return null;
}

/** Workers come and go. */
import { closeWorker, LIMITS } from '@farm/protocol/core';
import type { WorkerHello } from '@farm/protocol/core';

import { describeDeath, findSuspects, interrupt } from './blame.ts';
import { recordDeath } from './deaths.ts';
import { countTasks } from './durations.ts';
import { observe } from './observations.ts';
import { eachReadyTask } from './queueing.ts';
import { heldBy, removeHolder, isHeld } from './replicas.ts';
import { endTransfersTo } from './replication.ts';
import { matchWorker, unmatchWorker } from './requirements.ts';
import { AMOUNT_MAX, ResourcePool } from './resources.ts';
import { redirectScatters } from './scatter.ts';
import { WorkerState } from './state.ts';
import type { Assignment, Requirement } from './state.ts';
import type { Tables } from './tables.ts';
import { review } from './transitions.ts';
import { forgetPluginsOf, preparePlugins } from './worker-plugins.ts';
import { acceptRuns, canTakeRuns, endMove, refuseRuns } from './workload.ts';

/** A worker has connected. One whose name is taken or whose hello is senseless is sent away. */
export function addWorker(tables: Tables, session: string, hello: WorkerHello): void {
  const { outbox } = tables;
  const refusal = findRefusal(tables, hello);
  if (refusal !== null) {
    const worker = new WorkerState(-1, session, hello, new ResourcePool([]), tables.nowMs);
    outbox.toWorker(worker, closeWorker(refusal));
    outbox.instruct({ do: 'drop-worker', worker: session, reason: refusal });
    return;
  }
  const before = tables.workersByName.get(hello.name);
  if (before !== undefined) {
    // Its process has ended, or has given up its session: it can come back no more.
    const reason = before.away?.reason ?? 'it began a new session';
    removeWorker(tables, before, reason);
    outbox.instruct({ do: 'drop-worker', worker: before.session, reason });
  }
  const number = tables.freeWorkerNumbers.pop() ?? tables.nextWorker++;
  const worker = new WorkerState(number, session, hello, poolOf(hello), tables.nowMs);
  tables.workers.add(worker);
  tables.workersByName.set(worker.name, worker);
  preparePlugins(tables, worker);
  if (canTakeRuns(worker)) {
    matchFreeWorker(tables, worker);
    acceptRuns(tables, worker);
  }
  describeDeath(tables, hello);
  if (tables.isObserved) {
    const { name, host, address, nthreads, resources } = hello;
    const about = { name, host, address, nthreads, resources };
    observe(tables, { kind: 'addWorker', about });
  }
  const threads = worker.nthreads === 1 ? '1 thread' : `${worker.nthreads} threads`;
  const message = `worker ${worker.name} joined with ${threads}`;
  outbox.instruct({ do: 'log', level: 'info', message });
}

/** What a worker has to share out besides threads: what it declared, and the memory it may take. */
function poolOf({ resources, devices, memoryLimitBytes }: WorkerHello): ResourcePool {
  const bytes = Math.min(AMOUNT_MAX, memoryLimitBytes ?? AMOUNT_MAX);
  return new ResourcePool([...resources, ['memory', bytes]], devices);
}

/** A worker leaves on purpose: it gets nothing new, and nothing it ran is blamed. */
export function retireWorker(tables: Tables, worker: WorkerState): void {
  if (worker.isLeaving) return;
  refuseRuns(tables, worker);
  unmatchAll(tables, worker);
}

/** A worker that was to retire stays after all. */
export function readmitWorker(tables: Tables, worker: WorkerState): void {
  worker.isLeaving = false;
  if (!canTakeRuns(worker)) return;
  matchFreeWorker(tables, worker);
  acceptRuns(tables, worker);
}

/** A worker takes runs: some tasks may have waited for one that fits. */
export function matchFreeWorker(tables: Tables, worker: WorkerState): void {
  for (const requirement of tables.requirements.values()) {
    if (matchWorker(requirement, worker)) reconsiderQueue(tables, requirement, 'queued');
  }
}

/** A worker takes no runs: some tasks may fit nowhere else. */
export function unmatchAll(tables: Tables, worker: WorkerState): void {
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
  tables.freeWorkerNumbers.push(worker.number);
  // Whoever gets the number next was told nothing.
  for (const fn of tables.functions.values()) fn.told.delete(worker.number);
  tables.awayWorkers.delete(worker);
  tables.pausedWorkers.delete(worker);
  tables.outbox.forgetWorker(worker);
  forgetPluginsOf(tables, worker);
  if (tables.transfers.size > 0) endTransfersTo(tables, worker);
  if (tables.scatters.size > 0) redirectScatters(tables, worker);
  const lost = loseResults(tables, worker);
  const runs = [...worker.runs.values()];
  const suspects = wasLeaving ? new Set<Assignment>() : findSuspects(worker, runs);
  worker.runs.clear();
  const death = wasLeaving ? null : recordDeath(tables, worker, reason);
  let interrupted = 0;
  for (const assignment of runs) {
    const { task } = assignment;
    endMove(assignment);
    tables.stragglers.delete(assignment);
    if (task === null) continue;
    interrupted += 1;
    interrupt(tables, task, worker, suspects.has(assignment) ? death : null);
  }
  const message =
    `worker ${worker.name} left: ${reason}; ${interrupted} runs and ${lost} results are to be ` +
    'done again';
  if (tables.isObserved) {
    observe(tables, { kind: 'removeWorker', about: { name: worker.name, reason } });
  }
  const level = wasLeaving && interrupted + lost === 0 ? 'info' : 'warn';
  tables.outbox.instruct({ do: 'log', level, message });
}

/** Returns how many results are nowhere else. */
function loseResults(tables: Tables, worker: WorkerState): number {
  let lost = 0;
  for (const task of heldBy(tables, worker)) {
    removeHolder(task, worker);
    if (isHeld(task)) continue;
    lost += 1;
    review(tables, task);
  }
  return lost;
}

/** The first worker that fits has come, or the last has gone: ready tasks change their state. */
function reconsiderQueue(
  tables: Tables,
  requirement: Requirement,
  to: 'queued' | 'no-worker',
): void {
  const from = to === 'queued' ? 'no-worker' : 'queued';
  const { story, cause, nowMs } = tables;
  eachReadyTask(requirement, {
    task: (task) => review(tables, task),
    unmade: (block) => {
      const { naming, unmade, cursor, count } = block;
      countTasks(tables, block, from, to, unmade);
      story.add(naming, cursor, count, from, to, cause, null, null, nowMs);
    },
  });
}

/** Why a worker cannot join now; null where it can. */
export function findRefusal(tables: Tables, hello: WorkerHello): string | null {
  const { name, nthreads, incarnation, resources, devices = [] } = hello;
  if (tables.closing !== null) return `the scheduler is closing: ${tables.closing.reason}`;
  const before = tables.workersByName.get(name);
  if (before !== undefined && before.away === null && before.hello.incarnation !== incarnation) {
    return `a worker named ${name} is connected already: choose another --name`;
  }
  if (!Number.isSafeInteger(nthreads) || nthreads < 1) {
    return `worker ${name} has ${nthreads} threads: give a whole number from 1`;
  }
  const declared = new Map(resources);
  for (const resource of devices) {
    const amount = declared.get(resource) ?? Infinity;
    if (amount <= LIMITS.devicesMax && resource !== 'memory') continue;
    return `worker ${name} has ${amount} devices ${resource}: at most ${LIMITS.devicesMax} may be`;
  }
  return null;
}

import type { Explanation } from '@farm/protocol/core';

import { findKey } from './blocks.ts';
import { eachItem, itemCount } from './collections/one-or-many.ts';
import { describeHolders } from './held-up.ts';
import { headOf } from './queueing.ts';
import { hasCapacity, isNamedBy } from './requirements.ts';
import { fromUnits } from './resources.ts';
import { requirementOf } from './state.ts';
import type { Requirement, TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { recordOf } from './transitions.ts';
import { whyUnprepared } from './worker-plugins.ts';

/** Keys an explanation names at most. */
const KEYS_MAX = 20;

/** Why a task is where it is, and for each worker why it does not run there. */
export function explain(tables: Tables, key: string): Explanation {
  const place = findKey(tables, key);
  const task = place === undefined ? null : recordOf(place.block, place.index);
  if (task === null) {
    const summary = `${key} is not known: it was never submitted, or nobody wants it any more`;
    return { key, state: null, summary, waitingFor: [], workers: [] };
  }
  const isReady = task.state === 'queued' || task.state === 'no-worker';
  return {
    key,
    state: task.state,
    summary: summarize(tables, task),
    waitingFor: missingKeys(task),
    workers: isReady
      ? [...tables.workers.values()].map((worker) => ({
          worker: worker.name,
          reason: whyNotThere(tables, requirementOf(task), worker),
        }))
      : [],
  };
}

function summarize(tables: Tables, task: TaskState): string {
  const { key, state, assignment } = task;
  const requirement = requirementOf(task);
  switch (state) {
    case 'released':
      return `${key} has no result and nobody needs one; it could be computed again for a dependent`;
    case 'waiting':
      return `${key} waits for ${task.waitingOn} of its ${task.dependencies.length} dependencies`;
    case 'queued':
      return (
        `${key} is ready and waits for a worker with ${describe(requirement)} free; ` +
        `${requirement.ready} tasks wait for the same` +
        (isHead(requirement, task) ? ', it is the first of them' : '') +
        describeHeld(requirement)
      );
    case 'no-worker':
      return tables.workers.size === 0
        ? `${key} is ready, but no worker is connected`
        : `${key} needs ${describe(requirement)}, and no connected worker offers that`;
    case 'processing':
      return assignment === null
        ? `${key} is assigned`
        : `${key} is assigned to worker ${assignment.worker.name} as run ${assignment.run}` +
            (assignment.isExecuting ? ' and executes there' : '') +
            describeCopy(task);
    case 'memory':
      return `${key} is done: ${task.size} bytes on ${whereHeld(task)}`;
    case 'erred':
      return `${key} failed: ${task.trouble?.failure?.message ?? 'no reason is known'}`;
    case 'forgotten':
      return `${key} is forgotten`;
  }
}

function describeHeld(requirement: Requirement): string {
  const holders = describeHolders(requirement);
  return holders === null ? '' : `; ${holders}`;
}

function describeCopy({ trouble }: TaskState): string {
  const copy = trouble?.copy ?? null;
  if (copy === null) return '';
  return `; since that takes long, also to worker ${copy.worker.name} as run ${copy.run}`;
}

function missingKeys({ dependencies }: TaskState): string[] {
  const missing: string[] = [];
  for (const dependency of dependencies) {
    if (dependency.state === 'memory') continue;
    missing.push(dependency.key);
    if (missing.length >= KEYS_MAX) break;
  }
  return missing;
}

function isHead(requirement: Requirement, task: TaskState): boolean {
  const head = headOf(requirement);
  if (head === null) return false;
  return (
    head.task === task ||
    (head.task === null && head.block === task.block && task.index === head.block.cursor)
  );
}

function whereHeld(task: TaskState): string {
  if (task.holders === null) return 'the scheduler';
  const names: string[] = [];
  for (const { name } of eachItem(task.holders)) {
    if (names.length === KEYS_MAX) {
      return `${names.join(', ')} and ${itemCount(task.holders) - KEYS_MAX} more workers`;
    }
    names.push(name);
  }
  return names.join(', ');
}

/** The first reason that holds, the lasting ones before the passing ones. */
function whyNotThere(tables: Tables, requirement: Requirement, worker: WorkerState): string {
  if (!isNamedBy(requirement, worker) && !requirement.isLoose) {
    return `the task is restricted to ${requirement.workers.join(', ')}`;
  }
  if (requirement.threads > worker.nthreads) {
    return `not enough threads: it has ${worker.nthreads}, ${requirement.threads} are needed`;
  }
  for (const { name, units } of requirement.needs) {
    const capacity = worker.pool.capacity(name);
    if (capacity === 0) return `it has no resource ${name}`;
    if (capacity < units) {
      return `too little ${name}: it has ${fromUnits(capacity)}, ${fromUnits(units)} is needed`;
    }
  }
  if (!hasCapacity(requirement, worker)) return 'it is too small';
  if (worker.isLeaving) return 'it is leaving';
  if (worker.away !== null) return `it is away: ${worker.away.reason}`;
  const unprepared = whyUnprepared(worker);
  if (unprepared !== null) return unprepared;
  if (worker.isPaused) return 'it is paused: it is short of memory';
  for (const { name, units } of requirement.needs) {
    const free = worker.pool.capacity(name) - worker.pool.used(name);
    if (free < units) {
      return `full: ${fromUnits(free)} ${name} is free, ${fromUnits(units)} is needed`;
    }
    const devices = worker.pool.devices(name);
    if (devices?.choose(units) === null) {
      const parts = devices.free().filter((part) => part > 0);
      return (
        `full: ${fromUnits(free)} ${name} is free, ${fromUnits(units)} is needed, and not as ` +
        `${parts.map(fromUnits).join(' + ')}: a share lies on one device`
      );
    }
  }
  if (worker.threadsUsed + requirement.threads > worker.nthreads) {
    return `full: ${worker.threadsUsed} of ${worker.nthreads} threads are assigned`;
  }
  for (const other of tables.requirements.values()) {
    if (other.reserved === worker && other !== requirement) {
      return `it is kept clear for a task that needs ${describe(other)}`;
    }
  }
  return 'tasks before it are placed first';
}

function describe({ threads, needs, workers, isLoose }: Requirement): string {
  const parts = [threads === 1 ? '1 thread' : `${threads} threads`];
  for (const { name, units } of needs) parts.push(`${name}=${fromUnits(units)}`);
  const where = workers.length > 0 && !isLoose ? ` on ${workers.join(' or ')}` : '';
  return parts.join(', ') + where;
}

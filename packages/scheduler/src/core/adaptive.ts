/** How many workers the work at hand asks for, and which are best closed. */
import type { AdaptiveRequirement, AdaptiveTarget } from '@farm/protocol/core';

import type { Requirement, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { eachReadyTask } from './queueing.ts';

/** Work that one requirement stands for. */
interface Work {
  tasks: number;
  us: number;
}

/**
 * Workers that would do what is ready and running within `targetDurationMs`. Each distinct
 * requirement is counted for itself: tasks that need a GPU ask for workers that have one, as many
 * as their amounts allow at a time; they never ask for more workers than they are tasks.
 */
export function adaptiveTarget(tables: Tables, targetDurationMs: number): AdaptiveTarget {
  const work = new Map<Requirement, Work>();
  const add = (requirement: Requirement, us: number, count = 1): void => {
    const found = work.get(requirement);
    if (found === undefined) work.set(requirement, { tasks: count, us });
    else {
      found.tasks += count;
      found.us += us;
    }
  };
  const unknownUs = tables.config.unknownDurationMs * 1_000;
  for (const requirement of tables.requirements.values()) {
    if (requirement.ready === 0) continue;
    eachReadyTask(requirement, {
      task: ({ block }) => add(requirement, block.fn.prefix.meanUs ?? unknownUs),
      unmade: ({ unmade, fn }) =>
        add(requirement, unmade * (fn.prefix.meanUs ?? unknownUs), unmade),
    });
  }
  for (const worker of tables.workers.values()) {
    for (const { requirement, expectedUs } of worker.runs.values()) add(requirement, expectedUs);
  }
  const requirements: AdaptiveRequirement[] = [];
  let plain = 0;
  let special = 0;
  for (const [requirement, { tasks, us }] of work) {
    const perWorker = concurrency(tables, requirement);
    const byTime = Math.ceil(us / (Math.max(1, targetDurationMs) * 1_000) / perWorker);
    const target = Math.max(1, Math.min(byTime, Math.ceil(tasks / perWorker)));
    if (requirement.isPlain && requirement.workers.length === 0) plain += target;
    else special += target;
    requirements.push({
      threads: requirement.threads,
      resources: requirement.granted,
      workers: requirement.workers,
      tasks,
      target,
    });
  }
  return { target: Math.max(plain, special), requirements };
}

/**
 * Up to `count` workers that are best closed: idle ones first, then those that hold the fewest
 * bytes. Never one that runs a long task.
 */
export function workersToClose(tables: Tables, count: number): string[] {
  const longUs = tables.config.longTaskMs * 1_000;
  const isBusyForLong = (worker: WorkerState): boolean =>
    [...worker.runs.values()].some(({ isLong, expectedUs }) => isLong || expectedUs > longUs);
  return [...tables.accepting]
    .filter((worker) => !isBusyForLong(worker))
    .toSorted((a, b) => a.runs.size - b.runs.size || a.heldBytes - b.heldBytes)
    .slice(0, count)
    .map(({ name }) => name);
}

/** Tasks of a requirement that one worker runs at a time: of those that fit, or of the average. */
function concurrency(tables: Tables, requirement: Requirement): number {
  const { fits, threads, needs } = requirement;
  const workers = fits.size > 0 ? fits : tables.workers.values();
  let sum = 0;
  let count = 0;
  for (const { nthreads, pool } of workers) {
    let most = Math.floor(nthreads / threads);
    if (fits.size > 0) {
      for (const need of needs) most = pool.timesHeld(need, most);
    } else if (needs.length > 0) {
      most = 1;
    }
    sum += most;
    count += 1;
  }
  return count === 0 ? 1 : Math.max(1, sum / count);
}

/** What a worker is kept clear for, and who may use the rest of it meanwhile. */
import type { Requirement, WorkerState } from './state.ts';

/**
 * Whether a task of `other` would put off one of `kept`, for which the worker is kept clear: it
 * takes of a slot or resource that would be short then. Whatever else there is stays in use.
 */
export function isInTheWay(worker: WorkerState, kept: Requirement, other: Requirement): boolean {
  const { nthreads, threadsUsed, pool } = worker;
  if (nthreads - threadsUsed - other.threads < kept.threads) return true;
  for (const need of kept.needs) {
    const taken = other.needs.find(({ name }) => name === need.name)?.units ?? 0;
    if (taken > 0 && !pool.canHoldBeside(need, taken)) return true;
  }
  return false;
}

/**
 * How long it takes until a task of `kept` can start on the worker, where nothing begins that is in
 * its way, in microseconds. A run that takes longer than expected is thought to go on for as long
 * again.
 */
export function clearingUs(worker: WorkerState, kept: Requirement, nowMs: number): number {
  let longest = 0;
  for (const { requirement, expectedUs, executingSinceMs } of worker.runs.values()) {
    if (!hasInCommon(kept, requirement)) continue;
    const sinceUs = executingSinceMs === null ? 0 : (nowMs - executingSinceMs) * 1_000;
    longest = Math.max(longest, Math.abs(expectedUs - sinceUs));
  }
  return longest;
}

/** Whether both need the same resource; where `kept` needs slots only, those count. */
function hasInCommon(kept: Requirement, other: Requirement): boolean {
  if (kept.needs.length === 0) return true;
  return kept.needs.some(({ name }) => other.needs.some((need) => need.name === name));
}

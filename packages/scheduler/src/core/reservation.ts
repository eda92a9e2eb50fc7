/** What a worker is kept clear for, and who may use the rest of it meanwhile. */
import type { Requirement, WorkerState } from './state.ts';

/**
 * Whether a task of `other` would put off one of `kept`, for which the worker is kept clear: it
 * takes of a slot or resource that would be short then. Whatever else there is stays in use.
 */
export function isInTheWay(worker: WorkerState, kept: Requirement, other: Requirement): boolean {
  const { nthreads, threadsUsed, pool } = worker;
  if (nthreads - threadsUsed - other.threads < kept.threads) return true;
  for (const { name, units } of kept.needs) {
    const taken = other.needs.find((need) => need.name === name)?.units ?? 0;
    if (taken > 0 && pool.capacity(name) - pool.used(name) - taken < units) return true;
  }
  return false;
}

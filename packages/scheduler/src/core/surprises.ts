/** Runs that take far longer than expected, as heartbeats show. */
import { noteStraggler } from './speculation.ts';
import type { Assignment } from './state.ts';
import type { Tables } from './tables.ts';
import { reestimate } from './workload.ts';

/** A run that takes longer than this times the average puts the average in doubt (as in Dask). */
const DOUBT_FACTOR = 2;

/**
 * The worker says that it executes a run. One that takes far longer than expected is taken to be
 * half over; and where the average of its prefix had promised less, its tasks count as unknown from
 * here on: they are not sent ahead, and those that wait behind the long one are worth moving.
 */
export function noteExecution(tables: Tables, assignment: Assignment): void {
  const { nowMs, config } = tables;
  assignment.isExecuting = true;
  assignment.executingSinceMs ??= nowMs;
  const { task } = assignment;
  // What waits for others takes as long as they do.
  if (assignment.isSeceded) return;
  const elapsedUs = (nowMs - assignment.executingSinceMs) * 1_000;
  if (task === null) return;
  if (task.block.speculate !== null) noteStraggler(tables, assignment, elapsedUs);
  if (elapsedUs <= DOUBT_FACTOR * assignment.expectedUs) return;
  reestimate(tables, assignment, DOUBT_FACTOR * elapsedUs);
  const { prefix } = task.block.fn;
  if (prefix.meanUs === null || elapsedUs <= DOUBT_FACTOR * prefix.meanUs) return;
  prefix.doubt();
  for (const other of assignment.worker.runs.values()) {
    if (other === assignment || other.isSeceded || other.task?.block.fn.prefix !== prefix) continue;
    reestimate(tables, other, Math.max(other.expectedUs, config.unknownDurationMs * 1_000));
  }
}

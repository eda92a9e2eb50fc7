/**
 * Runs that take resources or several slots and do not begin. They are assigned only where all of
 * that is free, so they should begin at once; but a worker may be slow to fetch their inputs, or what
 * was sent ahead may keep a slot for longer than it promised. Heartbeats show it: a run that two of
 * them do not name has not begun in between. Where another worker has all it needs free, it is asked
 * back and moved, as `stealing.ts` does with what waits behind other runs.
 */
import { canHold, inputBytes } from './input-size.ts';
import { isReserved } from './requirements.ts';
import type { Assignment, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { bringUs } from './transfer.ts';
import { beginMove, fitsNow } from './workload.ts';

/** Workers with such runs that are looked at in one round. */
const VICTIMS_MAX = 32;
/** Idle workers that are looked at for one run. */
const THIEVES_MAX = 32;

/** The worker has said what it executes: notes what does not begin. */
export function noteStalled(tables: Tables, worker: WorkerState): void {
  const { stalled: before } = worker;
  if (worker.specialRuns === 0 && before === null) return;
  let stalled: Map<number, number> | null = null;
  for (const { run, requirement, isExecuting, task } of worker.runs.values()) {
    if (requirement.isPlain || isExecuting || task === null) continue;
    stalled ??= new Map<number, number>();
    stalled.set(run, before?.get(run) ?? tables.nowMs);
  }
  worker.stalled = stalled;
  worker.beatMs = tables.nowMs;
  if (stalled !== null && tables.accepting.has(worker)) tables.stalled.add(worker);
  else tables.stalled.delete(worker);
}

/** Asks back runs that have not begun for a while, where another worker could begin them. */
export function moveStalled(tables: Tables): void {
  let looked = 0;
  for (const victim of tables.stalled) {
    if (looked++ >= VICTIMS_MAX) return;
    for (const [run, sinceMs] of victim.stalled ?? []) {
      const assignment = victim.runs.get(run);
      const waitedUs = (victim.beatMs - sinceMs) * 1_000;
      if (assignment === undefined || waitedUs === 0 || !isMovable(tables, assignment)) continue;
      const thief = findThief(tables, assignment, waitedUs);
      if (thief === null) continue;
      beginMove(assignment, thief, assignment.expectedUs);
      tables.outbox.stop(victim, run, false);
    }
  }
}

function isMovable({ nowMs }: Tables, assignment: Assignment): boolean {
  const { task } = assignment;
  if (task === null || assignment.isExecuting) return false;
  // One of two runs is where it is since the other takes long.
  if ((task.trouble?.copy ?? null) !== null) return false;
  return assignment.move === null && assignment.staysUntilMs <= nowMs;
}

/**
 * The worker that has all the run needs free and would get its inputs first, if that is well before
 * it may be expected to begin where it is: once its inputs are there, or after as long again as it
 * has waited.
 */
function findThief(
  tables: Tables,
  { task, requirement, worker: victim }: Assignment,
  waitedUs: number,
): WorkerState | null {
  if (task === null) return null;
  const expectedUs = Math.max(bringUs(tables, task, victim) - waitedUs, waitedUs);
  // Two round trips, and it may begin just now.
  let bestUs = expectedUs / 2 - tables.config.stealCostMs * 1_000;
  let best: WorkerState | null = null;
  const bytes = inputBytes(task);
  const { fits } = requirement;
  let looked = 0;
  for (const thief of fits.size < tables.idle.size ? fits : tables.idle) {
    if (thief === victim || thief.incomingRuns > 0 || !fits.has(thief)) continue;
    if (!fitsNow(thief, requirement) || isReserved(tables, thief)) continue;
    if (thief === task.trouble?.avoided || !canHold(thief, bytes)) continue;
    const costUs = bringUs(tables, task, thief);
    if (costUs < bestUs) {
      best = thief;
      bestUs = costUs;
    }
    if (looked++ >= THIEVES_MAX) break;
  }
  return best;
}

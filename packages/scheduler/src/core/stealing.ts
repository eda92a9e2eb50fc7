/**
 * Work stealing: runs that were sent ahead to a loaded worker, or wait there for its data, are
 * taken back and given to an idle one where that pays.
 *
 * The loaded worker (the victim) is asked to give up a run that has not started; meanwhile the task
 * stays `processing` there, and both workers count the run. Once the victim says that it is gone,
 * the task goes to the idle one (the thief), if that can still take it, else back to its queue.
 * A move pays where the wait at the victim is longer than bringing the inputs to the thief and a
 * round trip (after Dask's `stealing.py`, whose levels of cost are not needed here: the queue of a
 * worker is short).
 */
import { tellFunction } from './functions.ts';
import { canHold, inputBytes } from './input-size.ts';
import { isReserved } from './requirements.ts';
import { moveStalled } from './stalled.ts';
import { requirementOf } from './state.ts';
import type { Assignment, Requirement, TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { assign, sendBackUnstarted } from './transitions.ts';
import { bringUs } from './transfer.ts';
import { beginMove, endMove, fitsNow, isLong } from './workload.ts';

/** Loaded workers looked at in one round, the most loaded first. */
const VICTIMS_MAX = 32;
/** Idle workers that are compared for one run. */
const THIEVES_MAX = 32;
/** Runs of one victim that are looked at in one round, those that start last first. */
const RUNS_MAX = 512;

/**
 * Has unstarted runs of loaded workers moved to idle ones, now and then. Runs from `firstNew` on
 * have just been placed, with all that is known: they are on their way, and stay for this round.
 */
export function steal(tables: Tables, firstNew: number): void {
  const { stealIntervalMs } = tables.config;
  const { idle, loaded, stalled } = tables;
  if (idle.size === 0 || (loaded.size === 0 && stalled.size === 0)) return;
  if (stealIntervalMs === null) return;
  if (tables.nowMs < tables.stealAtMs || tables.closing !== null) return;
  tables.stealAtMs = tables.nowMs + stealIntervalMs;
  moveStalled(tables);
  if (loaded.size === 0) return;
  const thieves = findThieves(tables);
  if (thieves.length === 0) return;
  for (const victim of findVictims(tables)) takeFrom(tables, victim, thieves, firstNew);
}

/** A victim has given up a run that was to be moved. */
export function moveOn(tables: Tables, task: TaskState, thief: WorkerState): void {
  tables.cause = `taken back for worker ${thief.name}`;
  sendBackUnstarted(tables, task);
  tables.moved.push([task, thief]);
  tables.needsPlacement = true;
}

/** A victim keeps a run: it has started, or is over. */
export function keepRun(tables: Tables, assignment: Assignment | undefined): void {
  if (assignment === undefined || assignment.move === null) return;
  tables.runsKept += 1;
  endMove(assignment);
  assignment.staysUntilMs = tables.nowMs + tables.config.stealAgainMs;
}

/** Gives tasks that were taken from others to those they were taken for, while these have room. */
export function placeMoved(tables: Tables): void {
  for (const [task, thief] of tables.moved) {
    const requirement = requirementOf(task);
    const { fn } = task.block;
    const isKeeping = isLong(tables, fn.prefix.meanUs);
    if (task.state !== 'queued' || !canTake(tables, thief, requirement, isKeeping)) continue;
    const assignment = assign(tables, task, thief);
    assignment.staysUntilMs = tables.nowMs + tables.config.stealAgainMs;
    tables.runsMoved += 1;
    tellFunction(tables, thief, fn);
    tables.outbox.run(assignment, task);
  }
  tables.moved.length = 0;
}

function findThieves(tables: Tables): WorkerState[] {
  const thieves: WorkerState[] = [];
  for (const worker of tables.idle) {
    if (worker.threadsUsed + worker.incomingRuns < worker.nthreads) thieves.push(worker);
    if (thieves.length >= THIEVES_MAX) break;
  }
  return thieves;
}

function findVictims(tables: Tables): WorkerState[] {
  const worthUs = 2 * minimumUs(tables);
  const victims: WorkerState[] = [];
  for (const worker of tables.loaded) if (waitUs(worker, 0) > worthUs) victims.push(worker);
  victims.sort((a, b) => waitUs(b, 0) - waitUs(a, 0));
  victims.length = Math.min(victims.length, VICTIMS_MAX);
  return victims;
}

/** From the run that would start last on, as long as moving one pays. */
function takeFrom(
  tables: Tables,
  victim: WorkerState,
  thieves: readonly WorkerState[],
  firstNew: number,
): void {
  const runs = [...victim.runs.values()];
  // What is left fills the slots.
  const waiting = runs.filter(({ isSeceded }) => isSeceded).length;
  const end = Math.max(victim.nthreads + waiting, runs.length - RUNS_MAX);
  for (let at = runs.length - 1; at >= end; at--) {
    const assignment = runs[at];
    if (assignment === undefined || assignment.run >= firstNew) continue;
    if (!isMovable(tables, assignment)) continue;
    if (waitUs(victim, assignment.expectedUs) <= 2 * minimumUs(tables)) return;
    const thief = findThief(tables, assignment, thieves);
    if (thief === null) continue;
    const { task, expectedUs } = assignment;
    // What was assigned in doubt may be known by now.
    beginMove(assignment, thief, task?.block.fn.prefix.meanUs ?? expectedUs);
    tables.outbox.stop(victim, assignment.run, false);
  }
}

function isMovable({ nowMs }: Tables, run: Assignment): boolean {
  if (run.task === null || !run.requirement.isPlain) return false;
  return !run.isExecuting && run.move === null && run.staysUntilMs <= nowMs;
}

/** The idle worker on which the run would start first, if that is well before it would here. */
function findThief(
  tables: Tables,
  { task, worker: victim, expectedUs, requirement, isLong: isKeeping }: Assignment,
  thieves: readonly WorkerState[],
): WorkerState | null {
  if (task === null) return null;
  // What runs on the victim is half over by now, on average.
  let bestUs = waitUs(victim, expectedUs) / 2;
  let best: WorkerState | null = null;
  const bytes = inputBytes(task);
  // Until the next round but one: the rest is left for others, who may join.
  const enoughUs = 2_000 * (tables.config.stealIntervalMs ?? 0);
  for (const thief of thieves) {
    if (!canTake(tables, thief, requirement, isKeeping) || !canHold(thief, bytes)) continue;
    const thiefUs = waitUs(thief, 0);
    if (thiefUs >= enoughUs) continue;
    const costUs = thiefUs + bringUs(tables, task, thief) + minimumUs(tables);
    if (costUs >= bestUs) continue;
    best = thief;
    bestUs = costUs;
  }
  return best;
}

/**
 * Whether a worker may get a run that was another's: a long one only where a slot is free, one that
 * takes more than a slot only where all of that is.
 */
function canTake(
  tables: Tables,
  thief: WorkerState,
  requirement: Requirement,
  isKeeping: boolean,
): boolean {
  if (!requirement.fits.has(thief) || isReserved(tables, thief)) return false;
  if (!requirement.isPlain) return fitsNow(thief, requirement);
  const isFree = thief.threadsUsed + thief.incomingRuns < thief.nthreads;
  return isFree ? fitsNow(thief, requirement) : !isKeeping;
}

/** How long what is assigned to a worker, but for a part, keeps one of its slots. */
function waitUs(worker: WorkerState, exceptUs: number): number {
  const { occupancyUs, outgoingUs, incomingUs, nthreads } = worker;
  return Math.max(0, occupancyUs - outgoingUs + incomingUs - exceptUs) / nthreads;
}

/** What asking for a run costs at least: about two round trips. */
function minimumUs({ config }: Tables): number {
  return config.stealCostMs * 1_000;
}

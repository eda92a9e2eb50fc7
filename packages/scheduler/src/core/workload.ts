/** What workers are loaded with: slots, resources, expected work. */
import { requirementOf } from './state.ts';
import type { Assignment, Requirement, TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** A record of a run that becomes that of another. */
type Reused = { -readonly [Field in keyof Assignment]: Assignment[Field] };

/** Records of runs that are kept for new ones: as many as 16,000 workers of four slots have. */
const RECORDS_MAX = 65_536;

/** Accounts a new run of `task` to the worker. */
export function beginRun(tables: Tables, task: TaskState, worker: WorkerState): Assignment {
  const requirement = requirementOf(task);
  const { fn } = task.block;
  const { unknownDurationMs } = tables.config;
  const { meanUs } = fn.prefix;
  const run = tables.nextRun++;
  const { number: taskNumber } = task;
  const expectedUs = meanUs ?? unknownDurationMs * 1_000;
  const isKeeping = isLong(tables, meanUs);
  const { needs } = requirement;
  const devices = needs.length > 0 ? worker.pool.take(needs) : null;
  const record: Reused | undefined = tables.recordsOfRuns.pop();
  let assignment: Assignment;
  if (record === undefined) {
    assignment = {
      run,
      worker,
      requirement,
      expectedUs,
      isLong: isKeeping,
      taskNumber,
      task,
      isSeceded: false,
      isExecuting: false,
      executingSinceMs: null,
      move: null,
      staysUntilMs: 0,
      usage: null,
      hasStaleCopy: false,
      devices,
    };
  } else {
    record.run = run;
    record.worker = worker;
    record.requirement = requirement;
    record.expectedUs = expectedUs;
    record.isLong = isKeeping;
    record.taskNumber = taskNumber;
    record.task = task;
    record.isSeceded = false;
    record.isExecuting = false;
    record.executingSinceMs = null;
    record.staysUntilMs = 0;
    record.hasStaleCopy = false;
    record.devices = devices;
    assignment = record;
  }
  worker.runs.set(assignment.run, assignment);
  worker.threadsUsed += requirement.threads;
  if (assignment.isLong) worker.threadsLong += requirement.threads;
  worker.occupancyUs += assignment.expectedUs;
  tables.idle.noteLoad(worker);
  if (!requirement.isPlain) worker.specialRuns += 1;
  updateIdle(tables, worker);
  return assignment;
}

/** The run is over: what it took is free again. */
export function endRun(tables: Tables, assignment: Assignment): void {
  const { worker, requirement, run } = assignment;
  worker.runs.delete(run);
  if (!assignment.isSeceded) freeSlots(tables, assignment);
  if (!requirement.isPlain) worker.specialRuns -= 1;
  if (requirement.needs.length > 0) worker.pool.giveBack(requirement.needs, assignment.devices);
  showRoom(tables, worker);
}

/**
 * Keeps the record of a run that is over for a new one: with tens of thousands under way, each would
 * grow old before it ends, and to make new ones is work for the garbage collector, twice. The caller
 * answers for it that nobody has the record any more.
 */
export function reuseRecord(tables: Tables, assignment: Assignment): void {
  const { recordsOfRuns } = tables;
  if (recordsOfRuns.length >= RECORDS_MAX) return;
  assignment.task = null;
  assignment.move = null;
  assignment.usage = null;
  recordsOfRuns.push(assignment);
}

/** The run waits for others: its slots are free again, its resources are not. */
export function secedeRun(tables: Tables, assignment: Assignment): void {
  if (assignment.isSeceded) return;
  freeSlots(tables, assignment);
  assignment.isSeceded = true;
  // Nobody needs to ask for it: it has started.
  assignment.isExecuting = true;
  showRoom(tables, assignment.worker);
}

function freeSlots(tables: Tables, assignment: Assignment): void {
  const { worker, requirement } = assignment;
  if (assignment.move !== null) endMove(assignment);
  if (tables.stragglers.size > 0) tables.stragglers.delete(assignment);
  worker.threadsUsed -= requirement.threads;
  if (assignment.isLong) worker.threadsLong -= requirement.threads;
  reestimate(tables, assignment, 0);
}

function showRoom(tables: Tables, worker: WorkerState): void {
  if (!worker.isAccepting) return;
  updateIdle(tables, worker);
  tables.dirty.add(worker);
  tables.needsPlacement = true;
}

/** Whether nothing speaks against giving the worker runs: it stays, is there, and has its plugins. */
export function canTakeRuns(worker: WorkerState): boolean {
  const { isLeaving, away, isPaused, plugins } = worker;
  return !isLeaving && away === null && !isPaused && plugins.missing.size === 0;
}

/** Begins to give the worker runs. */
export function acceptRuns(tables: Tables, worker: WorkerState): void {
  tables.accepting.add(worker);
  worker.isAccepting = true;
  tables.idle.letIn(worker);
  tables.slots += worker.nthreads;
  tables.stealAtMs = 0;
  updateIdle(tables, worker);
  tables.dirty.add(worker);
  tables.needsPlacement = true;
}

/** Ends giving the worker runs, for good. */
export function refuseRuns(tables: Tables, worker: WorkerState): void {
  worker.isLeaving = true;
  pauseRuns(tables, worker);
}

/** Gives the worker no runs until {@link acceptRuns}. */
export function pauseRuns(tables: Tables, worker: WorkerState): void {
  if (!tables.accepting.delete(worker)) return;
  worker.isAccepting = false;
  tables.slots -= worker.nthreads;
  tables.idle.shutOut(worker);
  tables.loaded.delete(worker);
  tables.stalled.delete(worker);
  worker.isLoaded = false;
  tables.dirty.delete(worker);
}

/** Whether the worker takes runs, and could run a task of the requirement when empty. */
export function isFit(worker: WorkerState, { id, fits }: Requirement): boolean {
  // All that take runs have a slot.
  return id === '' ? worker.isAccepting : fits.has(worker);
}

/** Whether a task could start there now. */
export function fitsNow(worker: WorkerState, requirement: Requirement): boolean {
  const { needs, threads } = requirement;
  if (worker.threadsUsed + threads > worker.nthreads) return false;
  return needs.length === 0 || worker.pool.canHold(needs);
}

/** Whether tasks of this mean duration keep a slot for longer than is worth waiting for. */
export function isLong({ config }: Tables, meanUs: number | null): boolean {
  return meanUs === null || meanUs > config.longTaskMs * 1_000;
}

/** Expected work for each slot. */
export function loadOf(worker: WorkerState): number {
  return worker.occupancyUs / worker.nthreads;
}

/** Another estimate of what a run takes. */
export function reestimate({ idle }: Tables, assignment: Assignment, expectedUs: number): void {
  const { worker } = assignment;
  worker.occupancyUs += expectedUs - assignment.expectedUs;
  assignment.expectedUs = expectedUs;
  idle.noteLoad(worker);
}

/** The worker is asked for an unstarted run, for the thief. */
export function beginMove(assignment: Assignment, thief: WorkerState, expectedUs: number): void {
  const { worker } = assignment;
  assignment.move = { thief, expectedUs };
  worker.outgoingUs += expectedUs;
  thief.incomingUs += expectedUs;
  thief.incomingRuns += 1;
}

/** It has answered, or will not. */
export function endMove(assignment: Assignment): void {
  const { move, worker } = assignment;
  if (move === null) return;
  assignment.move = null;
  worker.outgoingUs -= move.expectedUs;
  move.thief.incomingUs -= move.expectedUs;
  move.thief.incomingRuns -= 1;
}

function updateIdle(tables: Tables, worker: WorkerState): void {
  const { threadsUsed, nthreads } = worker;
  if (threadsUsed < nthreads) tables.idle.add(worker);
  else tables.idle.delete(worker);
  if (threadsUsed > nthreads !== worker.isLoaded) {
    worker.isLoaded = !worker.isLoaded;
    if (worker.isLoaded) tables.loaded.add(worker);
    else tables.loaded.delete(worker);
  }
}

/** What workers report of their runs and data. A report about a run given up is stale. */
import { failure } from '@farm/protocol/core';
import type {
  AcquireFailed,
  Failure,
  Finished,
  Holding,
  InputMissing,
  Lost,
  RunFailed,
  RunUsage,
  Seceded,
  Stopped,
  WorkerHeartbeat,
} from '@farm/protocol/core';

import { interrupt } from './blame.ts';
import { findTask } from './blocks.ts';
import { hasOtherRun, keepWinner } from './copy-runs.ts';
import { eachItem, hasItem } from './collections/one-or-many.ts';
import { delay, retryDelayMs } from './delays.ts';
import type { Prefix } from './durations.ts';
import { growMemory, mayGrow } from './memory-growth.ts';
import { takePaused } from './pausing.ts';
import { addHolder, removeHolder } from './replicas.ts';
import { endTransfer, noteSurplus } from './replication.ts';
import { landScatter } from './scatter.ts';
import { noteStalled } from './stalled.ts';
import type { Assignment, Block, TaskState, WorkerState } from './state.ts';
import { keepRun, moveOn } from './stealing.ts';
import { noteExecution } from './surprises.ts';
import type { Tables } from './tables.ts';
import { complete, fail, review, sendBack, sendBackUnstarted, troubleOf } from './transitions.ts';
import { endRun, reuseRecord, secedeRun } from './workload.ts';

/** What is added where a task cannot ask for more memory. */
const LARGEST = '; growMemory is of no more help: no worker that it may run on has more than that';
/** Times that inputs of a task may turn out to be nowhere before it errs. */
const INPUT_MISSES_MAX = 20;

/** Runs that ended well. */
export function takeFinished(tables: Tables, worker: WorkerState, message: Finished): void {
  const { runs, sizes, values, ends, durationsUs } = message;
  let prefix: Prefix | null = null;
  let totalUs = 0;
  let totalBytes = 0;
  let count = 0;
  let start = 0;
  for (let i = 0; i < runs.length; i++) {
    const end = ends[i] ?? start;
    const assignment = worker.runs.get(runs[i] ?? -1);
    if (assignment === undefined) {
      tables.staleReports += 1;
    } else {
      endRun(tables, assignment);
      const durationUs = durationsUs[i] ?? 0;
      const { task } = assignment;
      if (task === null) {
        tables.staleReports += 1;
        dropStaleCopy(tables, assignment);
      } else {
        if (task.block.fn.prefix !== prefix) {
          prefix?.learn(totalUs, totalBytes, count);
          ({ prefix } = task.block.fn);
          totalUs = 0;
          totalBytes = 0;
          count = 0;
        }
        totalUs += durationUs;
        count += 1;
        const size = sizes[i] ?? 0;
        totalBytes += size;
        if (task.trouble !== null) keepWinner(tables, task, assignment);
        const { cause } = tables;
        if (assignment.usage !== null) tables.cause = `${cause}: ${taken(assignment.usage)}`;
        complete(tables, task, { worker, size, durationUs, values, start, end });
        tables.cause = cause;
        // A task without a history has no other run, and nobody else has been told of this one.
        if (task.trouble === null) reuseRecord(tables, assignment);
      }
    }
    start = end;
  }
  prefix?.learn(totalUs, totalBytes, count);
}

/** What a run took, for the story of its task. */
export function takeRunUsage(worker: WorkerState, { run, peakBytes, cpuUs }: RunUsage): void {
  const assignment = worker.runs.get(run);
  if (assignment !== undefined) assignment.usage = { peakBytes, cpuUs };
}

/** In words: `145 MiB of memory, 1.5 s of processor time`, as far as it is known. */
function taken({ peakBytes, cpuUs }: Pick<RunUsage, 'peakBytes' | 'cpuUs'>): string {
  const parts: string[] = [];
  if (peakBytes !== null) parts.push(`${Math.round(peakBytes / 2 ** 20)} MiB of memory`);
  if (cpuUs !== null) parts.push(`${seconds(cpuUs)} of processor time`);
  return parts.join(', ');
}

function seconds(us: number): string {
  return us < 1e6 ? `${Math.round(us / 1_000)} ms` : `${(us / 1e6).toFixed(1)} s`;
}

/** A run that failed: again while it has retries left, else for good. */
export function takeRunFailed(tables: Tables, worker: WorkerState, message: RunFailed): void {
  const task = endReported(tables, worker, message.run, `failed: ${message.failure.message}`);
  if (task === null) {
    tables.staleReports += 1;
    return;
  }
  if (message.failure.code === 'ERR_KILLED_WORKER') {
    // What ends the worker has ended the run before.
    tables.cause = message.failure.message;
    interrupt(tables, task, worker, null);
    return;
  }
  const trouble = troubleOf(task);
  const hasGrown = mayGrow(task, message.failure) ? growMemory(tables, task, trouble) : null;
  if (hasGrown !== null) {
    tables.cause = `run failed, again with ${hasGrown}: ${message.failure.message}`;
    sendBack(tables, task);
    return;
  }
  const { retries, retryDelayMs: firstDelayMs } = task.block;
  if (trouble.retriesUsed < retries && isWorthRetry(task.block, message.failure)) {
    trouble.retriesUsed += 1;
    trouble.avoided = worker;
    tables.cause = `run failed, retry ${trouble.retriesUsed}: ${message.failure.message}`;
    if (firstDelayMs > 0) {
      delay(tables, task, tables.nowMs + retryDelayMs(firstDelayMs, trouble.retriesUsed));
    }
    sendBack(tables, task);
    return;
  }
  const { code, origin, error, name } = message.failure;
  const isLargest = mayGrow(task, message.failure);
  const text = isLargest ? `${message.failure.message}${LARGEST}` : message.failure.message;
  // The bytes are a view of what arrived, which would stay as a whole.
  const bytes = error === null ? null : new Uint8Array(error);
  const ranOn = message.failure.worker ?? worker.name;
  fail(tables, task, failure(code, text, origin, ranOn, bytes, name));
}

/** Whether another attempt may help: of any failure, or of those the block names. */
function isWorthRetry({ retryOn }: Block, { code, name }: Failure): boolean {
  return (
    retryOn.length === 0 || retryOn.includes(code) || (name !== null && retryOn.includes(name))
  );
}

/** Runs that are gone, asked for or handed back; `kept` ones end by a report of their own. */
export function takeStopped(tables: Tables, worker: WorkerState, message: Stopped): void {
  for (const run of message.runs) {
    const thief = worker.runs.get(run)?.move?.thief ?? null;
    const task = endReported(tables, worker, run, 'handed back');
    if (task === null) continue;
    if (thief !== null) moveOn(tables, task, thief);
    else if (worker.isPaused) sendBackUnstarted(tables, task);
    else sendBack(tables, task);
  }
  for (const run of message.kept) keepRun(tables, worker.runs.get(run));
}

/** Runs that wait for other tasks, without a slot. */
export function takeSeceded(tables: Tables, worker: WorkerState, message: Seceded): void {
  for (const run of message.runs) {
    const assignment = worker.runs.get(run);
    if (assignment !== undefined) secedeRun(tables, assignment);
  }
}

/** Copies of results the worker has got. */
export function takeHolding(tables: Tables, worker: WorkerState, message: Holding): void {
  for (const number of message.tasks) {
    const task = findTask(tables, number);
    if (task?.state === 'memory') {
      addHolder(task, worker);
      if (!endTransfer(tables, task, worker, null)) noteSurplus(tables, task);
    } else if (task === undefined || !landScatter(tables, task, worker)) {
      dropCopy(tables, worker, number, task);
    }
  }
}

/** Results the worker held are gone: they are computed again where nobody else has them. */
export function takeLost(tables: Tables, worker: WorkerState, message: Lost): void {
  tables.cause = `worker ${worker.name} lost a spilled result`;
  for (const number of message.tasks) {
    const task = findTask(tables, number);
    if (task === undefined || !hasItem(task.holders, worker)) continue;
    removeHolder(task, worker);
    review(tables, task);
  }
}

/** A copy that was asked for could not be had. */
export function takeAcquireFailed(
  tables: Tables,
  worker: WorkerState,
  { task: number, holders }: AcquireFailed,
): void {
  const task = findTask(tables, number);
  if (task === undefined) return;
  const asked = holders.length === 0 ? 'the scheduler' : holders.join(', ');
  endTransfer(tables, task, worker, `it could not be fetched from ${asked}`);
}

/** A run was given up since an input is nowhere to be had: those that were asked hold it no more. */
export function takeInputMissing(tables: Tables, worker: WorkerState, message: InputMissing): void {
  const input = findTask(tables, message.task);
  if (input?.state === 'memory') {
    for (const holder of [...eachItem(input.holders)]) {
      const { address } = holder.hello;
      const wasAsked = address !== null && message.holders.includes(address);
      if (holder !== worker && !wasAsked) continue;
      removeHolder(input, holder);
      // Where it cannot be reached but is there after all, it would stay for ever.
      tables.outbox.free(holder, message.task);
    }
    review(tables, input);
  }
  const task = endReported(tables, worker, message.run, 'an input was missing');
  if (task === null) return;
  const trouble = troubleOf(task);
  trouble.inputMisses += 1;
  if (trouble.inputMisses <= INPUT_MISSES_MAX) {
    sendBack(tables, task);
    return;
  }
  const { key } = task;
  const why = `inputs of ${key} were missing ${trouble.inputMisses} times, last ${input?.key ?? ''}`;
  fail(tables, task, failure('ERR_LOST_DATA', why, key, worker.name, null));
}

/** How the worker is, and what it executes. */
export function takeHeartbeat(tables: Tables, worker: WorkerState, message: WorkerHeartbeat): void {
  worker.metrics = message.metrics;
  takePaused(tables, worker, message.metrics.paused);
  for (const run of message.executing) {
    const assignment = worker.runs.get(run);
    if (assignment !== undefined) noteExecution(tables, assignment);
  }
  noteStalled(tables, worker);
}

/**
 * Ends a run that came to nothing; returns its task, or null where it was given up, is unknown, or
 * the task has another run.
 */
function endReported(
  tables: Tables,
  worker: WorkerState,
  run: number,
  why: string,
): TaskState | null {
  const assignment = worker.runs.get(run);
  if (assignment === undefined) return null;
  endRun(tables, assignment);
  if (assignment.hasStaleCopy) {
    const { worker: holder, taskNumber } = assignment;
    dropCopy(tables, holder, taskNumber, findTask(tables, taskNumber));
  }
  const { task } = assignment;
  return task === null || hasOtherRun(tables, task, worker, why) ? null : task;
}

/** A run that was given up has left its result behind. */
function dropStaleCopy(tables: Tables, { worker, taskNumber }: Assignment): void {
  dropCopy(tables, worker, taskNumber, findTask(tables, taskNumber));
}

/**
 * Frees a copy that is not counted. Where the worker counts as a holder or runs the task again, the
 * result of the other run is kept under the same number, and must not be freed with it.
 */
function dropCopy(
  tables: Tables,
  worker: WorkerState,
  number: number,
  task: TaskState | undefined,
): void {
  if (task !== undefined) {
    if (hasItem(task.holders, worker)) return;
    const copy = task.trouble?.copy ?? null;
    const assignment = copy?.worker === worker ? copy : task.assignment;
    // One that has just ended, without a result, is still the task's.
    if (assignment?.worker === worker && worker.runs.has(assignment.run)) {
      assignment.hasStaleCopy = true;
      return;
    }
  }
  tables.outbox.free(worker, number);
}

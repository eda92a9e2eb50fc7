/**
 * Copies of results: made where they are asked for, or where a worker retires; moved; dropped where
 * there are more than are needed. A copy is fetched by the worker that is to hold it.
 *
 * A batch of copy jobs has a window of copies that are on their way. A job never has more of them
 * than twice the copies there are, so that a broadcast spreads like a tree.
 */
import { acquire } from '@farm/protocol/core';

import { eachItem, hasItem, itemCount } from './collections/one-or-many.ts';
import { removeHolder } from './replicas.ts';
import { isNamedBy } from './requirements.ts';
import { holderAddresses } from './run-batch.ts';
import type { TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** Copies of one batch that are on their way at once. */
const IN_FLIGHT_MAX = 500;
/** Part of a worker's memory limit that copies may fill. */
const MEMORY_FRACTION = 0.8;

/** One result that is to be on more workers. */
export interface CopyJob {
  readonly task: TaskState;
  /** Copies there should be on workers that stay. */
  readonly want: number;
  /** Workers that may get one; null means any that stays. */
  readonly allowed: ReadonlySet<WorkerState> | null;
  /** Its copy is dropped at the end. */
  readonly source: WorkerState | null;
  readonly batch: CopyBatch;
  /** Those that could not fetch it. */
  readonly tried: Set<WorkerState>;
  inFlight: number;
  /** It is among those to be looked at. */
  isDue: boolean;
  lastProblem: string;
}

/** Jobs that somebody waits for together. */
export class CopyBatch {
  /** Jobs to be looked at. */
  readonly due: CopyJob[] = [];
  readonly failed: { readonly key: string; readonly reason: string }[] = [];
  readonly done: (batch: CopyBatch) => void;
  left = 0;
  inFlight = 0;
  copied = 0;
  dropped = 0;

  /** @param done - Called once, when every job has ended. */
  constructor(done: (batch: CopyBatch) => void) {
    this.done = done;
  }
}

/** One copy on its way. */
export interface Transfer {
  readonly job: CopyJob;
  readonly to: WorkerState;
}

/** Makes a batch of jobs, begun by the next {@link advanceCopies}. */
export function beginCopies(
  tables: Tables,
  jobs: readonly Pick<CopyJob, 'task' | 'want' | 'allowed' | 'source'>[],
  done: (batch: CopyBatch) => void,
): CopyBatch {
  const batch = new CopyBatch(done);
  for (const { task, want, allowed, source } of jobs) {
    const tried = new Set<WorkerState>();
    const fixed = { task, want, allowed, source, batch, tried };
    batch.due.push({ ...fixed, inFlight: 0, isDue: true, lastProblem: '' });
  }
  batch.due.reverse();
  batch.left = batch.due.length;
  tables.copies.add(batch);
  return batch;
}

/**
 * Sees to it that there are so many copies of each result, and remembers that they are wanted.
 *
 * @param copies - From 1; 0 means one on every worker.
 * @param workers - Names, addresses or hosts to choose from; empty means any.
 */
export function copy(
  tables: Tables,
  tasks: readonly TaskState[],
  copies: number,
  workers: readonly string[],
  done: (batch: CopyBatch) => void,
): void {
  const allowed = namedWorkers(tables, workers);
  const want = copies === 0 ? Math.max(1, allowed.size) : copies;
  let dropped = 0;
  for (const task of tasks) {
    tables.copiesWanted.set(task, want);
    dropped += dropCopies(tables, task, want);
  }
  const jobs = tasks.map((task) => ({ task, want, allowed, source: null }));
  beginCopies(tables, jobs, done).dropped += dropped;
}

/** Workers that stay and that the list names. */
export function namedWorkers(tables: Tables, workers: readonly string[]): Set<WorkerState> {
  return new Set([...tables.accepting].filter((worker) => isNamedBy({ workers }, worker)));
}

/** Goes on with all batches, and ends those that are through. */
export function advanceCopies(tables: Tables): void {
  for (const batch of tables.copies) {
    while (batch.inFlight < IN_FLIGHT_MAX) {
      const job = batch.due.pop();
      if (job === undefined) break;
      job.isDue = false;
      advance(tables, job);
    }
    if (batch.left > 0) continue;
    tables.copies.delete(batch);
    batch.done(batch);
  }
}

/** A worker has a copy, or could not get it (`problem` says why). Whether it was asked to. */
export function endTransfer(
  tables: Tables,
  task: TaskState,
  to: WorkerState,
  problem: string | null,
): boolean {
  const transfers = tables.transfers.get(task);
  const transfer = transfers?.get(to);
  if (transfers === undefined || transfer === undefined) return false;
  transfers.delete(to);
  if (transfers.size === 0) tables.transfers.delete(task);
  const { job } = transfer;
  to.incomingBytes -= task.size;
  job.inFlight -= 1;
  job.batch.inFlight -= 1;
  if (!job.isDue) job.batch.due.push(job);
  job.isDue = true;
  if (problem === null) {
    job.batch.copied += 1;
  } else {
    job.tried.add(to);
    job.lastProblem = `worker ${to.name}: ${problem}`;
  }
  return true;
}

/** A worker is gone: nothing comes to it any more. */
export function endTransfersTo(tables: Tables, worker: WorkerState): void {
  for (const [task, transfers] of [...tables.transfers]) {
    if (transfers.has(worker)) endTransfer(tables, task, worker, 'it was lost');
  }
}

/** A result is gone, needed or not. */
export function forgetCopies(tables: Tables, task: TaskState): void {
  tables.copiesWanted.delete(task);
  tables.surplus.delete(task);
  if (tables.transfers.size === 0) return;
  for (const to of [...(tables.transfers.get(task)?.keys() ?? [])]) {
    endTransfer(tables, task, to, 'the result is gone');
  }
}

/** Copies that came along as inputs may be too many from now on. */
export function noteSurplus(tables: Tables, task: TaskState): void {
  if (task.needers > 0 || itemCount(task.holders) < 2) return;
  if (!tables.surplus.has(task)) tables.surplus.set(task, tables.nowMs);
}

/** Drops copies that nothing has needed for a while, but for one and those asked for. */
export function dropSurplus(tables: Tables): void {
  const { surplus, nowMs, config } = tables;
  for (const [task, sinceMs] of surplus) {
    if (sinceMs + config.surplusAfterMs > nowMs) return;
    surplus.delete(task);
    if (task.state !== 'memory' || task.needers > 0) continue;
    dropCopies(tables, task, tables.copiesWanted.get(task) ?? 1);
  }
}

/** Whether a worker may hold so many bytes more. */
export function hasMemoryFor(worker: WorkerState, bytes: number): boolean {
  const { memoryLimitBytes } = worker.hello;
  if (memoryLimitBytes === null) return true;
  const spilledBytes = worker.metrics?.spilledBytes ?? 0;
  const memoryBytes = Math.max(0, worker.heldBytes - spilledBytes);
  return memoryBytes + worker.incomingBytes + bytes <= memoryLimitBytes * MEMORY_FRACTION;
}

/** Bytes a worker holds and is about to. */
export function fullness(worker: WorkerState): number {
  return worker.heldBytes + worker.incomingBytes;
}

/** Copies on workers that stay. */
export function stayingCopies(task: TaskState): number {
  let count = 0;
  for (const holder of eachItem(task.holders))
    if (!holder.isLeaving && holder.away === null) count += 1;
  return count;
}

function advance(tables: Tables, job: CopyJob): void {
  const { task, want, source } = job;
  if (task.state !== 'memory') {
    if (job.inFlight === 0) finish(job, `its result is not in memory, it is ${task.state}`);
    return;
  }
  const copies = stayingCopies(task);
  const missing = want - copies - job.inFlight;
  const room = 2 * Math.max(1, copies) - job.inFlight;
  for (let left = Math.min(missing, room); left > 0; left--) {
    const to = pickRecipient(tables, job);
    if (to === null) break;
    start(tables, job, to);
  }
  if (job.inFlight > 0) return;
  if (copies >= want) {
    if (source !== null && copies > 1) dropFrom(tables, task, source, job.batch);
    finish(job, null);
  } else {
    const problem = job.lastProblem === '' ? 'no other worker has room for it' : job.lastProblem;
    finish(job, problem);
  }
}

function start(tables: Tables, job: CopyJob, to: WorkerState): void {
  const { task } = job;
  let transfers = tables.transfers.get(task);
  if (transfers === undefined) {
    transfers = new Map<WorkerState, Transfer>();
    tables.transfers.set(task, transfers);
  }
  transfers.set(to, { job, to });
  to.incomingBytes += task.size;
  job.inFlight += 1;
  job.batch.inFlight += 1;
  tables.outbox.toWorker(to, acquire(task.number, task.size, holderAddresses(task, to)));
}

/** The emptiest worker that may have the copy and has not got it. */
function pickRecipient(tables: Tables, job: CopyJob): WorkerState | null {
  const { task, allowed, tried } = job;
  const transfers = tables.transfers.get(task);
  let best: WorkerState | null = null;
  for (const worker of allowed ?? tables.accepting) {
    if (!tables.accepting.has(worker) || tried.has(worker)) continue;
    if (transfers?.has(worker) === true || hasItem(task.holders, worker)) continue;
    if (!hasMemoryFor(worker, task.size)) continue;
    if (best === null || fullness(worker) < fullness(best)) best = worker;
  }
  return best;
}

function finish(job: CopyJob, problem: string | null): void {
  const { batch, task } = job;
  batch.left -= 1;
  if (problem !== null) batch.failed.push({ key: task.key, reason: problem });
}

/** Drops copies above `keep`: on workers that leave first, then on the fullest. */
function dropCopies(tables: Tables, task: TaskState, keep: number): number {
  const surplus = itemCount(task.holders) - keep;
  if (surplus <= 0) return 0;
  const holders = [...eachItem(task.holders)].toSorted(
    (a, b) => Number(b.isLeaving) - Number(a.isLeaving) || fullness(b) - fullness(a),
  );
  for (const holder of holders.slice(0, surplus)) dropFrom(tables, task, holder, null);
  return surplus;
}

function dropFrom(
  tables: Tables,
  task: TaskState,
  holder: WorkerState,
  batch: CopyBatch | null,
): void {
  if (!hasItem(task.holders, holder)) return;
  removeHolder(task, holder);
  tables.outbox.free(holder, task.number);
  if (batch !== null) batch.dropped += 1;
}

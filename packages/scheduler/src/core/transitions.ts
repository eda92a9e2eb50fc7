/**
 * How tasks change state. Whatever happens changes the conditions of some tasks and puts them up
 * for review; `settle` then moves each along the edges of the table until its state agrees with its
 * conditions. What workers report moves tasks directly (`complete`, `fail`, `sendBack`).
 */
import { failure, invariant } from '@farm/protocol/core';
import type { Failure, TaskStateName } from '@farm/protocol/core';

import { eachItem, withoutItem } from './collections/one-or-many.ts';
import { dropBlock } from './blocks.ts';
import { stopCopy } from './copy-runs.ts';
import { condemnation } from './deaths.ts';
import { countTasks } from './durations.ts';
import { hastenInputs } from './order.ts';
import { dequeue, dequeueUnmade, enqueue } from './queueing.ts';
import { addHolder, freeResult, isHeld, keepValue } from './replicas.ts';
import { forgetCopies, noteSurplus } from './replication.ts';
import { whyTooLarge } from './input-size.ts';
import { shrinkMemory } from './memory-growth.ts';
import {
  flagsOf,
  GONE,
  recordAt,
  requirementOf,
  setFlags,
  setRecord,
  TaskState,
  Trouble,
  WANTED,
} from './state.ts';
import type { Assignment, Block, ClientState, Requirement, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { StateTable } from './task-states.ts';
import { beginRun } from './workload.ts';

type Edge = (tables: Tables, task: TaskState) => void;

const EDGES: Readonly<Record<TaskStateName, Readonly<Partial<Record<TaskStateName, Edge>>>>> = {
  released: { waiting: releasedToWaiting, forgotten: releasedToForgotten },
  waiting: {
    queued: waitingToReady,
    'no-worker': waitingToReady,
    erred: waitingToErred,
    released: waitingToReleased,
  },
  queued: { waiting: readyToWaiting, 'no-worker': readyToReady, released: readyToReleased },
  'no-worker': { waiting: readyToWaiting, queued: readyToReady, released: readyToReleased },
  processing: { released: processingToReleased },
  memory: { released: memoryToReleased },
  erred: { released: erredToReleased },
  forgotten: {},
};
const EDGE_TABLE = new StateTable(EDGES);

/** Steps one `settle` may take for each task known, and some more: beyond, it runs in circles. */
const STEPS_PER_TASK = 16;
const STEPS_MIN = 10_000;

/** Puts a task up for review. */
export function review(tables: Tables, task: TaskState): void {
  tables.reviews.push(task);
}

/** Moves every task under review until its state agrees with its conditions. */
export function settle(tables: Tables): void {
  if (tables.reviews.length === 0) return;
  let stepsLeft = STEPS_MIN;
  let isBounded = false;
  for (let task = tables.reviews.pop(); task !== undefined; task = tables.reviews.pop()) {
    for (let to = nextState(task); to !== null; to = nextState(task)) {
      const edge = EDGE_TABLE.get(task.state, to);
      // Its words are not put together for nothing.
      if (edge === undefined) invariant(false, `no edge from ${task.state} to ${to} (${task.key})`);
      if (stepsLeft-- <= 0) {
        // Few get here: only now the tasks are counted.
        invariant(!isBounded, `${task.key} changes state for ever, last to ${to}`);
        stepsLeft = STEPS_PER_TASK * knownTasks(tables);
        isBounded = true;
      }
      edge(tables, task);
    }
  }
}

/** Whether a client wants it or an unfinished task needs it. */
export function isNeeded(task: TaskState): boolean {
  return task.needers > 0 || isWanted(task);
}

/** Whether a client wants it. */
export function isWanted(task: TaskState): boolean {
  return task.wants !== null || (flagsOf(task.block, task.index) & WANTED) !== 0;
}

/** Whether it is on its way to a result. */
export function isUnfinished(task: TaskState): boolean {
  const { state } = task;
  return (
    state === 'waiting' || state === 'queued' || state === 'no-worker' || state === 'processing'
  );
}

/** The clients that want it, and what they call it. Shared values it is in are passed over. */
export function eachWant(task: TaskState, visit: (client: ClientState, id: number) => void): void {
  const { block, index } = task;
  if (block.owner !== null && (flagsOf(block, index) & WANTED) !== 0) {
    visit(block.owner, block.ownerFirst + index);
  }
  if (task.wants === null) return;
  for (const { client, id } of task.wants) if (client !== null) visit(client, id);
}

/** The record of a block's task, made where it has none; null where the task is forgotten. */
export function recordOf(block: Block, index: number): TaskState | null {
  const task = recordAt(block, index);
  if (task !== undefined) return task;
  if ((flagsOf(block, index) & GONE) !== 0) return null;
  const made = new TaskState(block, index, readyState(block.requirement));
  setRecord(block, index, made);
  block.unmade -= 1;
  return made;
}

/** Forgets a task that has no record: it was queued, and nobody wants it. */
export function forgetUnmade(tables: Tables, block: Block, index: number): void {
  const state = readyState(block.requirement);
  countTasks(tables, block, state, 'forgotten', 1);
  tell(tables, block, index, state, 'forgotten', null, null);
  dequeueUnmade(tables, block);
  markGone(tables, block, index);
}

/** A new run begins: queued to processing. */
export function assign(tables: Tables, task: TaskState, worker: WorkerState): Assignment {
  dequeue(tables, task);
  if (task.trouble !== null) task.trouble.attempts += 1;
  const assignment = beginRun(tables, task, worker);
  task.assignment = assignment;
  move(tables, task, 'processing', assignment.run, worker.name);
  return assignment;
}

/** What a run reports at its good end. `value` from `start` to `end` may be empty. */
export interface Outcome {
  readonly worker: WorkerState;
  readonly size: number;
  readonly durationUs: number;
  readonly values: Uint8Array;
  readonly start: number;
  readonly end: number;
}

/** A run ended well: processing to memory. The assignment is over already. */
export function complete(tables: Tables, task: TaskState, outcome: Outcome): void {
  const { worker, values, start, end } = outcome;
  const run = task.assignment?.run ?? null;
  task.assignment = null;
  task.size = outcome.size;
  task.durationUs = outcome.durationUs;
  const { span } = task.block;
  if (span !== null) span.computeUs += outcome.durationUs;
  task.ranOn = worker.name;
  addHolder(task, worker);
  const isInline = end > start && end - start === outcome.size;
  if (isInline) keepValue(tables, task, values, start, end);
  move(tables, task, 'memory', run, worker.name);
  tellResult(tables, task, isInline ? values : null, start, end);
  stopNeeding(tables, task);
  const { dependents } = task;
  // Most have one, and need no iterator.
  if (dependents instanceof TaskState) inputIsThere(tables, task, dependents);
  else for (const dependent of eachItem(dependents)) inputIsThere(tables, task, dependent);
  if (!isNeeded(task)) review(tables, task);
}

/** One of its inputs is there; others that are missing are next. */
function inputIsThere(tables: Tables, input: TaskState, dependent: TaskState): void {
  if (dependent.state !== 'waiting') return;
  dependent.waitingOn -= 1;
  if (dependent.waitingOn === 0) review(tables, dependent);
  else hastenInputs(tables, input, dependent);
}

/** Tells all that want it; `value` from `start` to `end` where it is at hand. */
function tellResult(
  { outbox }: Tables,
  task: TaskState,
  value: Uint8Array | null,
  start: number,
  end: number,
): void {
  const { block, index, wants } = task;
  if (wants !== null) {
    eachWant(task, (client, id) => outbox.result(client, id, task, value, start, end));
  } else if (block.owner !== null && (flagsOf(block, index) & WANTED) !== 0) {
    outbox.result(block.owner, block.ownerFirst + index, task, value, start, end);
  }
}

/** A worker holds what a client handed over: waiting to memory. */
export function arrive(tables: Tables, task: TaskState, worker: WorkerState): void {
  task.ranOn = worker.name;
  addHolder(task, worker);
  move(tables, task, 'memory', null, worker.name);
  tellResult(tables, task, null, 0, 0);
  for (const dependent of eachItem(task.dependents)) {
    if (dependent.state !== 'waiting') continue;
    dependent.waitingOn -= 1;
    if (dependent.waitingOn === 0) review(tables, dependent);
  }
}

/** It ended badly, for good: processing or waiting to erred. The assignment is over already. */
export function fail(tables: Tables, task: TaskState, why: Failure): void {
  const run = task.assignment?.run ?? null;
  task.assignment = null;
  const trouble = troubleOf(task);
  trouble.failure = why;
  trouble.delayedUntilMs = null;
  task.waitingOn = 0;
  move(tables, task, 'erred', run, why.worker);
  eachWant(task, (client, id) => tables.outbox.failed(client, id, why));
  stopNeeding(tables, task);
  for (const dependent of eachItem(task.dependents)) {
    if (dependent.state !== 'waiting') continue;
    troubleOf(dependent).failure ??= why;
    review(tables, dependent);
  }
  if (!isNeeded(task)) review(tables, task);
}

/** Its run came to nothing: processing to waiting, and it will run again. */
export function sendBack(tables: Tables, task: TaskState): void {
  const run = task.assignment?.run ?? null;
  const worker = task.assignment?.worker.name ?? null;
  task.assignment = null;
  const trouble = troubleOf(task);
  countMissing(tables, task, trouble);
  move(tables, task, 'waiting', run, worker);
  review(tables, task);
}

/** Its run was taken back before it began: processing to waiting. It is no attempt. */
export function sendBackUnstarted(tables: Tables, task: TaskState): void {
  const run = task.assignment?.run ?? null;
  const worker = task.assignment?.worker.name ?? null;
  task.assignment = null;
  if (task.trouble !== null) task.trouble.attempts -= 1;
  countMissing(tables, task, task.trouble);
  move(tables, task, 'waiting', run, worker);
  review(tables, task);
}

/** What is remembered of a task with a history. */
export function troubleOf(task: TaskState): Trouble {
  task.trouble ??= new Trouble();
  return task.trouble;
}

/** The state its conditions ask for next; null where the present one is right. */
function nextState(task: TaskState): TaskStateName | null {
  const { state } = task;
  if (state === 'forgotten') return null;
  if (!isNeeded(task)) {
    if (state !== 'released') return 'released';
    return task.dependents === null ? 'forgotten' : null;
  }
  switch (state) {
    case 'released':
      return 'waiting';
    case 'waiting':
      if (task.trouble !== null) {
        const { failure, delayedUntilMs, isCondemned } = task.trouble;
        if (failure !== null) return 'erred';
        if (delayedUntilMs !== null) return null;
        if (isCondemned) return 'erred';
      }
      // What a client hands over is in memory as soon as a worker says so.
      if (task.waitingOn > 0 || task.block.isScattered) return null;
      return readyState(requirementOf(task));
    case 'queued':
    case 'no-worker': {
      if (task.waitingOn > 0) return 'waiting';
      const ready = readyState(requirementOf(task));
      return ready === state ? null : ready;
    }
    case 'memory':
      return isHeld(task) ? null : 'released';
    case 'erred':
      return (task.trouble?.failure ?? null) === null ? 'released' : null;
    case 'processing':
      return null;
  }
}

function readyState({ fits }: Requirement): 'queued' | 'no-worker' {
  return fits.size > 0 ? 'queued' : 'no-worker';
}

function releasedToWaiting(tables: Tables, task: TaskState): void {
  for (const dependency of task.dependencies) dependency.needers += 1;
  const why = whyNotAgain(tables, task);
  if (why !== null) troubleOf(task).failure ??= why;
  countMissing(tables, task, task.trouble);
  move(tables, task, 'waiting');
}

function releasedToForgotten(tables: Tables, task: TaskState): void {
  for (const dependency of task.dependencies) {
    dependency.dependents = withoutItem(dependency.dependents, task);
    if (!isNeeded(dependency)) review(tables, dependency);
  }
  const { block, index } = task;
  shrinkMemory(tables, task);
  countTasks(tables, block, 'released', 'forgotten', 1);
  tell(tables, block, index, 'released', 'forgotten', null, null);
  task.state = 'forgotten';
  setRecord(block, index, undefined);
  markGone(tables, block, index);
}

function waitingToReady(tables: Tables, task: TaskState): void {
  const why = whyTooLarge(task);
  if (why !== null) {
    fail(tables, task, why);
    return;
  }
  enqueue(tables, task);
  move(tables, task, readyState(requirementOf(task)));
}

function waitingToErred(tables: Tables, task: TaskState): void {
  const { trouble } = task;
  const isCondemned = trouble?.isCondemned === true;
  const why = trouble?.failure ?? (isCondemned ? condemnation(task) : null);
  invariant(why !== null, `${task.key} errs for no reason`);
  fail(tables, task, why);
}

function waitingToReleased(tables: Tables, task: TaskState): void {
  task.waitingOn = 0;
  if (task.trouble !== null) {
    task.trouble.failure = task.trouble.refusal;
    task.trouble.delayedUntilMs = null;
    task.trouble.isCondemned = false;
  }
  tables.scatters.remove(task);
  move(tables, task, 'released');
  stopNeeding(tables, task);
}

/** Why a task without a result cannot get one; null where it can. */
function whyNotAgain(tables: Tables, task: TaskState): Failure | null {
  const { block, ranOn } = task;
  if (block.isScattered) {
    if (tables.scatters.get(task) !== undefined) return null;
    const { key } = task;
    const where = ranOn === '' ? '' : `, last held by worker ${ranOn},`;
    const why =
      `${key} is scattered data${where} and is lost: it cannot be recomputed, scatter it again. ` +
      'Copies on several workers (broadcast) outlive the loss of one';
    return failure('ERR_LOST_DATA', why, key, ranOn === '' ? null : ranOn, null);
  }
  if (block.rerunOnLoss || ranOn === '') return null;
  const { key } = task;
  const why =
    `${key} has run, its result is lost or was released, and it must not run twice (rerunOnLoss ` +
    'is false): look at what it did, then submit it anew';
  return failure('ERR_LOST_DATA', why, key, ranOn, null);
}

function readyToWaiting(tables: Tables, task: TaskState): void {
  dequeue(tables, task);
  // A dependency that was lost may have failed by now, which only those told that waited for it.
  countMissing(tables, task, task.trouble);
  move(tables, task, 'waiting');
}

function readyToReady(tables: Tables, task: TaskState): void {
  move(tables, task, readyState(requirementOf(task)));
}

function readyToReleased(tables: Tables, task: TaskState): void {
  dequeue(tables, task);
  task.waitingOn = 0;
  move(tables, task, 'released');
  stopNeeding(tables, task);
}

function processingToReleased(tables: Tables, task: TaskState): void {
  const { assignment } = task;
  invariant(assignment !== null, `${task.key} is processing nowhere`);
  stopCopy(tables, task);
  // The slot stays taken until the worker says that the run is over.
  assignment.task = null;
  task.assignment = null;
  tables.outbox.stop(assignment.worker, assignment.run);
  troubleOf(task);
  move(tables, task, 'released', assignment.run, assignment.worker.name);
  stopNeeding(tables, task);
}

function memoryToReleased(tables: Tables, task: TaskState): void {
  const isLost = !isHeld(task);
  forgetCopies(tables, task);
  freeResult(tables, task);
  move(tables, task, 'released');
  if (!isLost) return;
  troubleOf(task);
  eachWant(task, (client, id) => tables.outbox.recomputing(client, id));
  for (const dependent of eachItem(task.dependents)) {
    const { state } = dependent;
    if (state !== 'waiting' && state !== 'queued' && state !== 'no-worker') continue;
    dependent.waitingOn += 1;
    review(tables, dependent);
  }
}

function erredToReleased(tables: Tables, task: TaskState): void {
  if ((task.trouble?.refusal ?? null) === null) {
    shrinkMemory(tables, task);
    task.trouble = null;
  }
  move(tables, task, 'released');
}

/** Counts the dependencies it has to wait for, and sees to it that they come. */
function countMissing(tables: Tables, task: TaskState, trouble: Trouble | null): void {
  let missing = 0;
  for (const dependency of task.dependencies) {
    if (dependency.state === 'memory') continue;
    missing += 1;
    const why = dependency.trouble?.failure ?? null;
    if (dependency.state === 'erred' && why !== null) {
      (trouble ?? troubleOf(task)).failure ??= why;
    }
    review(tables, dependency);
  }
  task.waitingOn = missing;
}

/** It is no longer unfinished: its dependencies may not be needed any more. */
function stopNeeding(tables: Tables, task: TaskState): void {
  for (const dependency of task.dependencies) {
    dependency.needers -= 1;
    if (!isNeeded(dependency)) review(tables, dependency);
    else if (dependency.needers === 0) noteSurplus(tables, dependency);
  }
}

function markGone(tables: Tables, block: Block, index: number): void {
  setFlags(block, index, GONE);
  block.alive -= 1;
  if (block.alive === 0) dropBlock(tables, block);
}

function move(
  tables: Tables,
  task: TaskState,
  to: TaskStateName,
  run: number | null = null,
  worker: string | null = null,
): void {
  const { state, block, index } = task;
  countTasks(tables, block, state, to, 1);
  task.state = to;
  tell(tables, block, index, state, to, run, worker);
}

function tell(
  tables: Tables,
  { naming }: Block,
  index: number,
  from: TaskStateName,
  to: TaskStateName,
  run: number | null,
  worker: string | null,
): void {
  tables.story.add(naming, index, index + 1, from, to, tables.cause, run, worker, tables.nowMs);
}

function knownTasks(tables: Tables): number {
  const { counts } = tables;
  let known = 0;
  for (const count of Object.values(counts)) known += count;
  return known;
}

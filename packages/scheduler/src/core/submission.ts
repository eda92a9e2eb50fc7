import { accepted, checkKey, failure, FarmError, LIMITS, u32At } from '@farm/protocol/core';
import type { Failure, Submit, TaskOptions } from '@farm/protocol/core';

import { addBlock, findKey, keysTaken } from './blocks.ts';
import { withItem } from './collections/one-or-many.ts';
import { countTasks } from './durations.ts';
import type { Naming } from './naming.ts';
import { rankBehind, seniorityOf } from './order.ts';
import { observe, observedClient } from './observations.ts';
import { enqueueBlock } from './queueing.ts';
import { valueOf } from './replicas.ts';
import { internRequirement } from './requirements.ts';
import {
  argEnd,
  argStart,
  Block,
  flagsOf,
  recordAt,
  setRecord,
  TaskState,
  WANTED,
} from './state.ts';
import type { ClientState, FunctionState, Submission } from './state.ts';
import type { Tables } from './tables.ts';
import { recordOf, review, troubleOf } from './transitions.ts';

const ID_END = 2 ** 32;
const NO_NEED = { resources: [], workers: [], allowOtherWorkers: false };
/** Inputs that are searched one by one for repetitions. */
const SEARCHED_MAX = 16;

/**
 * Takes in a block of tasks.
 *
 * @returns a sentence where the message makes no sense: its sender does not keep to the protocol.
 */
export function takeSubmit(tables: Tables, client: ClientState, message: Submit): string | null {
  const fn = tables.functions.get(message.fn);
  if (fn === undefined) return `submit names function ${message.fn}, which was not defined`;
  const wrong = findFault(client, message);
  if (wrong !== null) return wrong;
  tables.busyMs = tables.nowMs;
  tables.outbox.toClient(client, accepted(message.first, message.count));
  if (message.indexFrom === null && attach(tables, client, message)) return null;
  create(tables, client, message, fn);
  return null;
}

/** The task a client's future stands for; null where it is none of its futures. */
export function taskOf(client: ClientState, id: number): TaskState | null {
  const submission = client.futures.find(id);
  if (submission === undefined) return null;
  const { block, offset, first, isOwner } = submission;
  const index = offset + id - first;
  if (isOwner) return (flagsOf(block, index) & WANTED) === 0 ? null : recordOf(block, index);
  const task = recordAt(block, index);
  const isWanted = task?.wants?.some((want) => want.client === client && want.id === id);
  return task !== undefined && isWanted === true ? task : null;
}

function create(tables: Tables, client: ClientState, message: Submit, fn: FunctionState): void {
  const { first, count, key, indexFrom, options } = message;
  const naming: Naming = { key, indexFrom, count };
  const wrong = findSenseless(options);
  let requirement = wrong ?? internRequirement(tables, options);
  let refusal: Failure | null = null;
  if (typeof requirement === 'string') {
    refusal = failure('ERR_ARGUMENT', `${key}: ${requirement}`, key, null, null);
    requirement = internRequirement(tables, NO_NEED);
  }
  if (typeof requirement === 'string') throw new FarmError('ERR_INTERNAL', requirement);
  const taken = keysTaken(tables, naming);
  if (taken !== undefined && !(indexFrom === null && isErredKey(tables, taken))) {
    const why = `key ${taken} is in use for another task: choose another key, or release that task`;
    refusal ??= failure('ERR_DUPLICATE_KEY', why, taken, null, null);
  }
  const hasDependencies = (message.depsColumn?.byteLength ?? 0) > 0;
  const block = new Block({
    first: tables.nextTask,
    order: tables.nextBlock++,
    ...seniorityOf(tables, client, parentOf(tables, message)),
    parent: message.parent,
    naming,
    fn,
    options,
    span: tables.spans.get(options.spans, tables.nowMs),
    requirement,
    // Views of what arrived: kept as they are, they would keep the whole frame.
    args:
      count === 1
        ? tables.args.keep(message.args)
        : { bytes: new Uint8Array(message.args), start: 0, end: message.args.byteLength },
    argEnds: count === 1 ? null : new Uint8Array(message.argEndsColumn),
    owner: client,
    ownerFirst: first,
  });
  tables.nextTask += count;
  addBlock(tables, block, refusal === null);
  if (tables.isObserved) {
    const about = { client: observedClient(client), fn: fn.name, key, indexFrom, count };
    observe(tables, { kind: 'submit', about });
  }
  if (refusal !== null || hasDependencies) {
    for (let index = 0; index < count; index++) {
      const task = new TaskState(block, index, 'released');
      setRecord(block, index, task);
      if (refusal !== null) refuse(task, refusal);
      else connect(client, task, message);
      review(tables, task);
    }
    countTasks(tables, block, null, 'released', count);
  } else {
    const state = requirement.fits.size > 0 ? 'queued' : 'no-worker';
    countTasks(tables, block, null, state, count);
    const { cause, nowMs } = tables;
    tables.story.add(naming, 0, count, 'released', state, cause, null, null, nowMs);
    enqueueBlock(tables, block);
  }
  client.futures.add({ first, count, block, offset: 0, isOwner: true, alive: count });
}

/** The same key is the same task: a client that names a task there is waits for that one. */
function attach(tables: Tables, client: ClientState, message: Submit): boolean {
  const place = findKey(tables, message.key);
  if (place === undefined) return false;
  const task = recordOf(place.block, place.index);
  if (task === null || task.state === 'erred' || !isSame(client, task, message)) return false;
  addWant(tables, client, task, message.first);
  return true;
}

/** The client wants the task as its future `id`, which is free, and is told how it ended. */
export function addWant(tables: Tables, client: ClientState, task: TaskState, id: number): void {
  task.wants = [...(task.wants ?? []), { client, id }];
  const submission: Submission = {
    first: id,
    count: 1,
    block: task.block,
    offset: task.index,
    isOwner: false,
    alive: 1,
  };
  client.futures.add(submission);
  const why = task.trouble?.failure ?? null;
  if (task.state === 'memory') {
    const value = valueOf(task);
    tables.outbox.result(client, id, task, value, 0, value?.byteLength ?? 0);
  } else if (task.state === 'erred' && why !== null) {
    tables.outbox.failed(client, id, why);
  }
  review(tables, task);
}

/** Whether a submit asks for just what the task is. */
function isSame(client: ClientState, task: TaskState, message: Submit): boolean {
  const { block, index } = task;
  if (block.fn.hash !== message.fn) return false;
  const args = block.args.subarray(argStart(block, index), argEnd(block, index));
  if (args.byteLength !== message.args.byteLength) return false;
  for (let at = 0; at < args.byteLength; at++) if (args[at] !== message.args[at]) return false;
  const own = task.inputs ?? task.dependencies;
  const named = references(message, 0);
  return own.length === named.length && named.every((id, at) => taskOf(client, id) === own[at]);
}

function isErredKey(tables: Tables, key: string): boolean {
  const place = findKey(tables, key);
  return place !== undefined && recordAt(place.block, place.index)?.state === 'erred';
}

/** The block of the running task that submits; null where none does. */
function parentOf(tables: Tables, { parent }: Submit): Block | null {
  const place = parent === null ? undefined : findKey(tables, parent);
  if (place === undefined) return null;
  return recordAt(place.block, place.index)?.state === 'processing' ? place.block : null;
}

/** A new task can never run. */
function refuse(task: TaskState, why: Failure): void {
  const trouble = troubleOf(task);
  trouble.refusal = why;
  trouble.failure = why;
}

/** Ties a new task to those its arguments refer to. */
function connect(client: ClientState, task: TaskState, message: Submit): void {
  const ids = references(message, task.index);
  if (ids.length === 0) return;
  const inputs: TaskState[] = [];
  for (const id of ids) {
    const input = taskOf(client, id);
    if (input === null) {
      const { key } = task;
      const why =
        `an argument of ${key} is a future that is not this client's (any more): ` +
        'keep futures unreleased until the tasks that use them are submitted';
      refuse(task, failure('ERR_FOREIGN_FUTURE', why, key, null, null));
      return;
    }
    inputs.push(input);
  }
  const unique = withoutRepetitions(inputs);
  task.dependencies = unique;
  if (unique.length < inputs.length) task.inputs = inputs;
  for (const input of unique) input.dependents = withItem(input.dependents, task);
  rankBehind(task.block, task);
}

/** Each once, in order of appearance. */
function withoutRepetitions(inputs: TaskState[]): TaskState[] {
  if (inputs.length > SEARCHED_MAX) return [...new Set(inputs)];
  for (let at = 1; at < inputs.length; at++) {
    const input = inputs[at];
    if (input !== undefined && inputs.indexOf(input) < at) return [...new Set(inputs)];
  }
  // A list that grew has room for more than is in it.
  return inputs.slice();
}

/** Client's ids of the futures in the arguments of task `index`. */
function references({ depsColumn, depEndsColumn }: Submit, index: number): number[] {
  if (depsColumn === null || depEndsColumn === null) return [];
  const ids: number[] = [];
  const end = u32At(depEndsColumn, index);
  for (let at = index === 0 ? 0 : u32At(depEndsColumn, index - 1); at < end; at++) {
    ids.push(u32At(depsColumn, at));
  }
  return ids;
}

/** What is wrong with options that are no resources; null where nothing is. */
function findSenseless(options: TaskOptions): string | null {
  const { priority, retries, timeoutMs, retryDelayMs, speculate, growMemory, resources } = options;
  if (!Number.isFinite(priority)) return `priority is ${priority}: give a finite number`;
  if (Number.isNaN(retries) || retries < 0) return `retries is ${retries}: give a number from 0`;
  if (!(retryDelayMs >= 0 && retryDelayMs < Infinity)) {
    return `retryDelayMs is ${retryDelayMs}: give a number from 0`;
  }
  if (speculate !== null && !speculate.every((amount) => amount >= 0 && amount < Infinity)) {
    return `speculate is ${speculate.join(', ')}: give numbers from 0`;
  }
  if (growMemory !== null) {
    if (!(growMemory > 1 && growMemory < Infinity)) {
      return `growMemory is ${growMemory}: give a number above 1`;
    }
    if (!resources.some(([name]) => name === 'memory')) {
      return 'growMemory is given, but no memory to begin with';
    }
  }
  if (timeoutMs === null || timeoutMs > 0) return null;
  return `timeoutMs is ${timeoutMs}: give a number above 0, or null for no limit`;
}

/** What is wrong with the ids and keys of a block, if anything. */
export function findNamingFault(
  client: ClientState,
  { first, count, key, indexFrom }: Pick<Submit, 'first' | 'count' | 'key' | 'indexFrom'>,
): string | null {
  if (!Number.isInteger(count) || count < 1 || count > LIMITS.blockTasksMax) {
    return `submit of ${count} tasks: a block has 1 to ${LIMITS.blockTasksMax}`;
  }
  if (!Number.isInteger(first) || first < 0 || first + count > ID_END) {
    return `submit of futures ${first} to ${first + count - 1}: ids are whole and below 2^32`;
  }
  if (indexFrom === null && count !== 1) return `submit of ${count} tasks under the one key ${key}`;
  if (indexFrom !== null && (!Number.isSafeInteger(indexFrom) || indexFrom < 0)) {
    return `submit of ${key} has indices from ${indexFrom}`;
  }
  try {
    checkKey(key);
  } catch (error) {
    return error instanceof Error ? `submit: ${error.message}` : 'submit has no valid key';
  }
  const [used] = client.futures.overlapping(first, count);
  if (used !== undefined) {
    return `submit of futures ${first} to ${first + count - 1}, of which some are in use`;
  }
  return null;
}

function findFault(client: ClientState, message: Submit): string | null {
  const { count, key, args, argEndsColumn, depsColumn, depEndsColumn } = message;
  const wrong = findNamingFault(client, message);
  if (wrong !== null) return wrong;
  if (!areEnds(argEndsColumn, count, args.byteLength)) {
    return `submit of ${key}: the argument columns do not agree`;
  }
  if ((depsColumn === null) !== (depEndsColumn === null)) {
    return `submit of ${key}: one dependency column is missing`;
  }
  if (depsColumn === null || depEndsColumn === null) return null;
  const references = depsColumn.byteLength / 4;
  return Number.isInteger(references) && areEnds(depEndsColumn, count, references)
    ? null
    : `submit of ${key}: the dependency columns do not agree`;
}

/** Whether a column has `count` ascending ends, of which the last is `total`. */
function areEnds(column: Uint8Array, count: number, total: number): boolean {
  if (column.byteLength !== count * 4) return false;
  let last = 0;
  for (let index = 0; index < count; index++) {
    const end = u32At(column, index);
    if (end < last || end > total) return false;
    last = end;
  }
  return last === total;
}

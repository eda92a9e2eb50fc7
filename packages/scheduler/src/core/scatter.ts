/**
 * Values that clients hand over. Each is a task without function and lineage, which waits until a
 * worker holds its value. Until then the scheduler keeps the bytes, so that another worker gets them
 * where the first is lost.
 */
import { accepted, failure, putData, u32At } from '@farm/protocol/core';
import type { Failure, Scatter } from '@farm/protocol/core';

import { addBlock, findKey, keysTaken } from './blocks.ts';
import { countTasks } from './durations.ts';
import type { Naming } from './naming.ts';
import { generationOf } from './order.ts';
import type { PendingScatter } from './pending-scatters.ts';
import { copy, hasMemoryFor } from './replication.ts';
import { internRequirement, isNamedBy } from './requirements.ts';
import { Block, FunctionState, recordAt, setRecord, TaskState } from './state.ts';
import type { ClientState, WorkerState } from './state.ts';
import { addWant, findNamingFault } from './submission.ts';
import type { Tables } from './tables.ts';
import { arrive, fail, recordOf, review, troubleOf } from './transitions.ts';

/** No function has this hash: the wire refuses it. */
const NO_FUNCTION = '';
const NAME = 'scatter';
const NO_ARGUMENTS = { bytes: new Uint8Array(), start: 0, end: 0 };
const NO_NEED = { resources: [], workers: [], allowOtherWorkers: false };
const OPTIONS = {
  retries: 0,
  priority: 0,
  timeoutMs: null,
  retryDelayMs: 0,
  retryOn: [],
  growMemory: null,
  rerunOnLoss: true,
  speculate: null,
} as const;

/**
 * Takes in values of a client.
 *
 * @returns a sentence where the message makes no sense: its sender does not keep to the protocol.
 */
export function takeScatter(tables: Tables, client: ClientState, message: Scatter): string | null {
  const wrong = findNamingFault(client, message);
  if (wrong !== null) return wrong;
  tables.busyMs = tables.nowMs;
  const { first, count, key, indexFrom } = message;
  tables.outbox.toClient(client, accepted(first, count));
  const naming: Naming = { key, indexFrom, count };
  const known = indexFrom === null ? findScattered(tables, key) : null;
  if (known !== null) {
    addWant(tables, client, known, first);
    return null;
  }
  const taken = keysTaken(tables, naming);
  const place = taken === undefined ? undefined : findKey(tables, taken);
  const isRefused = place !== undefined && recordAt(place.block, place.index)?.state !== 'erred';
  const requirement = internRequirement(tables, NO_NEED);
  if (typeof requirement === 'string') return requirement;
  const block = new Block({
    first: tables.nextTask,
    order: tables.nextBlock++,
    generation: generationOf(tables, client),
    naming,
    fn: scatterFunction(tables),
    options: OPTIONS,
    requirement,
    args: NO_ARGUMENTS,
    argEnds: null,
    owner: client,
    ownerFirst: first,
    isScattered: true,
  });
  tables.nextTask += count;
  addBlock(tables, block, !isRefused);
  // A view of what arrived, which would stay as a whole.
  const values = new Uint8Array(message.values);
  const { scatterBytesMax } = tables.config;
  let start = 0;
  for (let index = 0; index < count; index++) {
    const end = u32At(message.endsColumn, index);
    const task = new TaskState(block, index, 'released');
    setRecord(block, index, task);
    task.size = end - start;
    if (isRefused) {
      const why = `key ${taken} is in use for another task: choose another, or release that task`;
      troubleOf(task).failure = failure('ERR_DUPLICATE_KEY', why, key, null, null);
    } else {
      const { workers, copies, timeoutMs: waitsMs } = message;
      const value = values.subarray(start, end);
      const deadlineMs = tables.nowMs + waitsMs;
      const pending = { task, value, workers, copies, deadlineMs, waitsMs, target: null };
      if (tables.scatters.bytes + value.byteLength <= scatterBytesMax) tables.scatters.add(pending);
      else troubleOf(task).failure = tooMuch(tables, task);
    }
    review(tables, task);
    start = end;
  }
  countTasks(tables, block, null, 'released', count);
  client.futures.add({ first, count, block, offset: 0, isOwner: true, alive: count });
  return null;
}

/** A worker says that it holds a task: whether that was a value on its way. */
export function landScatter(tables: Tables, task: TaskState, worker: WorkerState): boolean {
  const pending = tables.scatters.get(task);
  if (pending === undefined || task.state !== 'waiting') return false;
  tables.scatters.remove(task);
  arrive(tables, task, worker);
  if (pending.copies !== 1) copy(tables, [task], pending.copies, pending.workers, () => {});
  return true;
}

/** A worker is gone: what was on its way to it goes elsewhere. */
export function redirectScatters(tables: Tables, worker: WorkerState): void {
  for (const pending of tables.scatters.values()) {
    if (pending.target === worker) tables.scatters.displace(pending);
  }
}

/** Sends values that have no worker yet, in turn to the workers with the fewest bytes. */
export function placeScatters(tables: Tables): void {
  if (!tables.scatters.isWaiting) return;
  const workers = [...tables.accepting].toSorted((a, b) => a.heldBytes - b.heldBytes);
  const parcels = new Map<WorkerState, PendingScatter[]>();
  let turn = 0;
  for (const pending of tables.scatters.takeUnplaced()) {
    const at = findTaker(workers, pending, turn);
    const worker = at === null ? undefined : workers[at];
    if (at !== null && worker !== undefined) {
      turn = at + 1;
      pending.target = worker;
      const parcel = parcels.get(worker);
      if (parcel === undefined) parcels.set(worker, [pending]);
      else parcel.push(pending);
    } else if (tables.nowMs >= pending.deadlineMs) {
      giveUp(tables, pending);
    } else {
      tables.scatters.displace(pending);
    }
  }
  for (const [worker, parcel] of parcels) send(tables, worker, parcel);
}

function findTaker(
  workers: readonly WorkerState[],
  pending: PendingScatter,
  turn: number,
): number | null {
  for (let step = 0; step < workers.length; step++) {
    const at = (turn + step) % workers.length;
    const worker = workers[at];
    if (worker === undefined || !isNamedBy(pending, worker)) continue;
    if (hasMemoryFor(worker, pending.value.byteLength)) return at;
  }
  return null;
}

function send(tables: Tables, worker: WorkerState, parcel: readonly PendingScatter[]): void {
  const total = parcel.reduce((sum, { value }) => sum + value.byteLength, 0);
  const values = new Uint8Array(total);
  const ends: number[] = [];
  let end = 0;
  for (const { value } of parcel) {
    values.set(value, end);
    end += value.byteLength;
    ends.push(end);
  }
  const tasks = parcel.map(({ task }) => task.number);
  tables.outbox.toWorker(worker, putData(tasks, values, ends));
}

function giveUp(tables: Tables, { task, workers, value, waitsMs }: PendingScatter): void {
  tables.scatters.remove(task);
  const { key } = task;
  const whom = workers.length === 0 ? 'no worker' : `none of the workers ${workers.join(', ')}`;
  const why =
    `${whom} could take the ${value.byteLength} bytes of ${key} within ${waitsMs} ms: start ` +
    'workers, or give them more memory';
  fail(tables, task, failure('ERR_NO_WORKER', why, key, null, null));
}

function tooMuch({ scatters, config }: Tables, { key }: TaskState): Failure {
  const why =
    `${scatters.bytes} bytes of scattered values are on their way to workers, and with ${key} it ` +
    `would be more than ${config.scatterBytesMax}: wait for earlier ones, or start workers`;
  return failure('ERR_LIMIT', why, key, null, null);
}

/** The same content is the same task, while it is there. */
function findScattered(tables: Tables, key: string): TaskState | null {
  const place = findKey(tables, key);
  if (place?.block.isScattered !== true) return null;
  const task = recordOf(place.block, place.index);
  return task === null || task.state === 'erred' ? null : task;
}

function scatterFunction(tables: Tables): FunctionState {
  let fn = tables.functions.get(NO_FUNCTION);
  if (fn === undefined) {
    const prefix = tables.durations.get(NAME);
    fn = new FunctionState(tables.nextFunction++, NO_FUNCTION, NAME, new Uint8Array(), prefix);
    tables.functions.set(NO_FUNCTION, fn);
  }
  return fn;
}

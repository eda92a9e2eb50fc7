/**
 * In which order ready tasks are placed: user priority, then generation (one burst of submits of
 * one client: first in, first out), then what tasks submit before all else of their generation, so
 * that a task that waits for those it submitted is not starved, then depth first. Tasks arrive by and by, so the last part,
 * which Dask computes over a whole graph (`dask.order`), is kept up as they come: a task ranks
 * with the first root it descends from, the deeper the earlier. So the descendants of a root come
 * before the roots after it, and a chain is followed to its end before the next one is begun. And
 * once a task has a result that waits for others to be used, those others are next.
 */
import { firstItem, itemCount } from './collections/one-or-many.ts';
import { QueueEntry, requirementOf } from './state.ts';
import type { Block, ClientState, TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { isFit } from './workload.ts';

/** Dependents of a finished task beyond which it is common property: nothing is hastened for it. */
const DEPENDENTS_MAX = 8;
/** Inputs of a task beyond which the missing ones are not hastened. */
const INPUTS_MAX = 16;
/** Tasks hastened, or looked at for that, because of one that ended. */
const HASTENED_MAX = 32;

/** Whether `a` is to be placed before `b`. */
export function comesBefore(a: QueueEntry, b: QueueEntry): boolean {
  if (a.priority !== b.priority) return a.priority > b.priority;
  if (a.generation !== b.generation) return a.generation < b.generation;
  if (a.nesting !== b.nesting) return a.nesting > b.nesting;
  if (a.rank !== b.rank) return a.rank < b.rank;
  if (a.depth !== b.depth) return a.depth > b.depth;
  return a.place < b.place;
}

/** A new place of a task among the ready ones. One that it had counts no more. */
export function entryOf(tables: Tables, task: TaskState, depth: number = task.depth): QueueEntry {
  const { block, rank } = task;
  task.ticket = tables.nextTicket++;
  return new QueueEntry(block, task, task.ticket, { rank, depth });
}

/** The place of a whole block: after all that its tasks have made ready. */
export function entryOfBlock(block: Block): QueueEntry {
  return new QueueEntry(block, null, 0, { rank: block.first + block.count - 1, depth: -1 });
}

/**
 * The generation of a submit that has just arrived, and how many tasks it is nested in. What a
 * running task submits, of the block `parent`, belongs to the generation of that task.
 */
export function seniorityOf(
  tables: Tables,
  client: ClientState,
  parent: Block | null,
): { readonly generation: number; readonly nesting: number } {
  if (parent === null) return { generation: generationOf(tables, client), nesting: 0 };
  return { generation: parent.generation, nesting: parent.nesting + 1 };
}

/** The generation of what a client hands over now, by itself. */
export function generationOf(tables: Tables, client: ClientState): number {
  const { nowMs, config } = tables;
  const { burst } = client;
  const isNew = burst === null || nowMs - burst.lastMs > config.fifoWindowMs;
  const number = isNew ? tables.nextGeneration++ : burst.number;
  client.burst = { number, lastMs: nowMs };
  return number;
}

/**
 * Gives a new task its place after its dependencies, which have theirs. Where it goes on with a
 * submission that is still running, so does its block: what consumes results need not wait until
 * all of them are made.
 */
export function rankBehind(block: Block, task: TaskState): void {
  let rank = Infinity;
  let depth = 0;
  for (const dependency of task.dependencies) {
    rank = Math.min(rank, dependency.rank);
    depth = Math.max(depth, dependency.depth);
    const { block: earlier } = dependency;
    if (earlier.generation >= block.generation) continue;
    const isRunning = earlier.cursor < earlier.count || dependency.waitingOn > 0;
    if (isRunning || dependency.state === 'processing') block.generation = earlier.generation;
  }
  if (rank === Infinity) return;
  task.rank = rank;
  task.depth = depth + 1;
}

/** A result waits for others until `dependent` can use it: those that are ready are next. */
export function hastenInputs(tables: Tables, task: TaskState, dependent: TaskState): void {
  if (itemCount(task.dependents) > DEPENDENTS_MAX) return;
  const holder = firstItem(task.holders);
  hasten(tables, dependent, { rank: task.rank, holder, first: dependent }, HASTENED_MAX);
}

/** Whether a result of the task is an input of another task. */
export function hasConsumers(task: TaskState | undefined): boolean {
  return task !== undefined && task.dependents !== null;
}

/** Other inputs of the task's first dependent, where these are few. */
export function partnersOf(task: TaskState): readonly TaskState[] {
  const dependent = firstItem(task.dependents);
  if (dependent === undefined || dependent.dependencies.length > INPUTS_MAX) return [];
  return dependent.dependencies.filter((input) => input !== task);
}

/** Whether two tasks have their first dependent in common. */
export function areSiblings(one: TaskState | undefined, other: TaskState | undefined): boolean {
  if (one === undefined || other === undefined) return false;
  const first = firstItem(one.dependents);
  const second = firstItem(other.dependents);
  return first !== undefined && first === second;
}

interface Haste {
  readonly rank: number;
  /** Where the result is that waits. */
  readonly holder: WorkerState | undefined;
  /** What it waits for. */
  readonly first: TaskState;
}

function hasten(tables: Tables, dependent: TaskState, haste: Haste, budget: number): number {
  if (dependent.dependencies.length > INPUTS_MAX) return budget;
  const { rank, holder, first } = haste;
  let left = budget;
  for (const input of dependent.dependencies) {
    if (left <= 0) break;
    left -= 1;
    const isLate = input.rank > rank;
    if (isLate) input.rank = rank;
    if (input.state === 'waiting') {
      left = hasten(tables, input, haste, left);
    } else if (isReady(input) && (input.ticket === 0 || isLate)) {
      const { homes } = input.block;
      if (input.ticket === 0 && homes !== null) {
        // What is used together directly is best made in one place.
        const isThere = holder !== undefined && isFit(holder, input.block.requirement);
        if (dependent === first && isThere) homes.hastenOn(holder, input.index);
        else homes.hasten(input.index);
        continue;
      }
      requirementOf(input).queue.push(entryOf(tables, input, 0));
    }
  }
  return left;
}

/** Whether it waits for a worker. */
function isReady({ state }: TaskState): boolean {
  return state === 'queued' || state === 'no-worker';
}

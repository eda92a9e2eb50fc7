/** How wants end: released, cancelled, or their client gone. And how a failure is given up. */
import { eachItem } from './collections/one-or-many.ts';
import { dropHolder, holderOf } from './coordination/sessions.ts';
import { forgetUnused } from './functions.ts';
import { shrinkMemory } from './memory-growth.ts';
import { observe, observedClient } from './observations.ts';
import { flagsOf, recordAt, setFlags, WANTED } from './state.ts';
import type { Block, ClientState, Submission, TaskState } from './state.ts';
import { taskOf } from './submission.ts';
import type { Tables } from './tables.ts';
import { eachWant, forgetUnmade, isUnfinished, isWanted, review } from './transitions.ts';

/** A client gives up futures; ids that are not its futures (any more) are ignored. */
export function releaseRange(
  tables: Tables,
  client: ClientState,
  first: number,
  count: number,
): void {
  for (const submission of client.futures.overlapping(first, count)) {
    const end = Math.min(submission.first + submission.count, first + count);
    for (let id = Math.max(submission.first, first); id < end; id++) {
      const index = dropWant(client, submission, id);
      if (index !== null) reconsider(tables, submission.block, index);
    }
  }
}

/** A client is gone: it wants nothing any more, and its functions are forgotten when unused. */
export function removeClient(tables: Tables, client: ClientState): void {
  tables.clients.delete(client.session);
  tables.awayClients.delete(client);
  tables.workersAwaited = tables.workersAwaited.filter((waiting) => waiting.client !== client);
  for (const submission of [...client.futures]) {
    releaseRange(tables, client, submission.first, submission.count);
    if (submission.isOwner) submission.block.owner = null;
  }
  for (const fn of client.functions) {
    fn.definers.delete(client);
    forgetUnused(tables, fn);
  }
  dropHolder(tables, holderOf(client));
  if (!tables.isObserved) return;
  observe(tables, { kind: 'removeClient', about: observedClient(client) });
}

/**
 * A client cancels futures: it wants neither them nor what depends on them and is unfinished. Tasks
 * that others want go on.
 */
export function cancelRange(
  tables: Tables,
  client: ClientState,
  range: { readonly first: number; readonly count: number },
  reason: string,
): void {
  const affected: TaskState[] = [];
  const { first, count } = range;
  for (const submission of client.futures.overlapping(first, count)) {
    const end = Math.min(submission.first + submission.count, first + count);
    for (let id = Math.max(submission.first, first); id < end; id++) {
      const index = dropWant(client, submission, id);
      if (index === null) continue;
      tables.outbox.cancelled(client, id, reason);
      const task = recordAt(submission.block, index);
      if (task === undefined) reconsider(tables, submission.block, index);
      else affected.push(task);
    }
  }
  cancelDependents(tables, client, affected, reason);
  for (const task of affected) review(tables, task);
}

/** Failed tasks run again, and so do their failed dependencies and dependents. */
export function retryTasks(tables: Tables, client: ClientState, ids: readonly number[]): void {
  tables.busyMs = tables.nowMs;
  const erred = new Set<TaskState>();
  const visit = (task: TaskState | null): void => {
    // What was refused lacks what it would need to run.
    if (task?.state === 'erred' && (task.trouble?.refusal ?? null) === null) erred.add(task);
  };
  for (const id of ids) visit(taskOf(client, id));
  // A set that grows while it is iterated: all that is reached is visited once.
  for (const task of erred) {
    for (const dependency of task.dependencies) visit(dependency);
    for (const dependent of eachItem(task.dependents)) visit(dependent);
  }
  for (const task of erred) {
    eachWant(task, (asker, id) => tables.outbox.recomputing(asker, id));
    // Without a reason to be erred, it is not.
    shrinkMemory(tables, task);
    task.trouble = null;
    // The user says that it may run again, whatever it did.
    if (!task.block.isScattered) task.ranOn = '';
    review(tables, task);
  }
}

/** Ends the want; returns the task's index in its block, or null where there was no want. */
function dropWant(client: ClientState, submission: Submission, id: number): number | null {
  const { block, offset, first, isOwner } = submission;
  const index = offset + id - first;
  if (isOwner) {
    const flags = flagsOf(block, index);
    if ((flags & WANTED) === 0) return null;
    setFlags(block, index, flags & ~WANTED);
  } else {
    const task = recordAt(block, index);
    const left = task?.wants?.filter((want) => want.client !== client || want.id !== id);
    if (task === undefined || left?.length === task.wants?.length) return null;
    task.wants = left === undefined || left.length === 0 ? null : left;
  }
  submission.alive -= 1;
  if (submission.alive === 0) client.futures.delete(submission);
  return index;
}

function reconsider(tables: Tables, block: Block, index: number): void {
  const task = recordAt(block, index);
  if (task === undefined) forgetUnmade(tables, block, index);
  else review(tables, task);
}

/** Adds to `affected` the unfinished tasks that depend on those in it. */
function cancelDependents(
  tables: Tables,
  client: ClientState,
  affected: TaskState[],
  reason: string,
): void {
  const seen = new Set(affected);
  for (const task of seen) {
    for (const dependent of eachItem(task.dependents)) {
      if (seen.has(dependent) || !isUnfinished(dependent)) continue;
      seen.add(dependent);
      affected.push(dependent);
      for (const id of wantsOf(dependent, client)) {
        const submission = client.futures.find(id);
        if (submission === undefined || dropWant(client, submission, id) === null) continue;
        tables.outbox.cancelled(client, id, reason);
      }
    }
  }
}

function wantsOf(task: TaskState, client: ClientState): number[] {
  const ids: number[] = [];
  if (!isWanted(task)) return ids;
  eachWant(task, (asker, id) => {
    if (asker === client) ids.push(id);
  });
  return ids;
}

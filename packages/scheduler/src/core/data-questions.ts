/** Questions of clients about where results are, and requests to move them. */
import { reply } from '@farm/protocol/core';
import type {
  HasWhat,
  RebalanceParams,
  ReplicateParams,
  Replicated,
  WhoHas,
} from '@farm/protocol/core';

import { eachItem } from './collections/one-or-many.ts';
import { beginCopies, copy, namedWorkers } from './replication.ts';
import type { CopyBatch, CopyJob } from './replication.ts';
import { isNamedBy } from './requirements.ts';
import { heldBy } from './replicas.ts';
import type { ClientState, TaskState, WorkerState } from './state.ts';
import { taskOf } from './submission.ts';
import type { Tables } from './tables.ts';

/** Moves that one rebalance plans at most. */
const MOVES_MAX = 100_000;

/** Where each future's result is. */
export function whoHas(client: ClientState, ids: readonly number[]): WhoHas {
  return ids.flatMap((id) => {
    const task = taskOf(client, id);
    if (task === null) return [];
    return [{ key: task.key, workers: [...eachItem(task.holders)].map(({ name }) => name) }];
  });
}

/** What each of these workers holds. */
export function hasWhat(tables: Tables, names: readonly string[]): HasWhat {
  return [...tables.workers.values()]
    .filter((worker) => isNamedBy({ workers: names }, worker))
    .map((worker) => ({
      worker: worker.name,
      keys: heldBy(tables, worker).map(({ key }) => key),
    }));
}

/** Makes or drops copies, and answers when that is done. */
export function takeReplicate(
  tables: Tables,
  client: ClientState,
  request: number,
  { ids, copies, workers }: ReplicateParams,
): void {
  const tasks = inMemory(client, ids);
  copy(tables, tasks, copies, workers, (batch) => answer(tables, client, request, batch));
}

/** Moves results from the fullest workers to the emptiest, and answers when that is done. */
export function takeRebalance(
  tables: Tables,
  client: ClientState,
  request: number,
  { ids, workers }: RebalanceParams,
): void {
  const only = ids.length === 0 ? null : new Set(inMemory(client, ids));
  const jobs = planMoves(tables, namedWorkers(tables, workers), only);
  beginCopies(tables, jobs, (batch) => answer(tables, client, request, batch));
}

/**
 * Greedy: the fullest worker gives its largest result that makes the two more even to the emptiest,
 * until no such move is left.
 */
function planMoves(
  tables: Tables,
  workers: ReadonlySet<WorkerState>,
  only: ReadonlySet<TaskState> | null,
): Pick<CopyJob, 'task' | 'want' | 'allowed' | 'source'>[] {
  const bytes = new Map<WorkerState, number>();
  for (const worker of workers) bytes.set(worker, worker.heldBytes);
  const jobs: Pick<CopyJob, 'task' | 'want' | 'allowed' | 'source'>[] = [];
  const fullestFirst = [...workers].toSorted((a, b) => b.heldBytes - a.heldBytes);
  for (const source of fullestFirst) {
    const movable = heldBy(tables, source)
      .filter((task) => (only === null || only.has(task)) && !tables.copiesWanted.has(task))
      .filter(({ holders }) => holders === source)
      .toSorted((a, b) => b.size - a.size);
    for (const task of movable) {
      const to = emptiest(bytes);
      const here = bytes.get(source) ?? 0;
      if (to === null || to === source || jobs.length >= MOVES_MAX) break;
      const there = bytes.get(to) ?? 0;
      if (there + task.size >= here) continue;
      bytes.set(source, here - task.size);
      bytes.set(to, there + task.size);
      jobs.push({ task, want: 2, allowed: new Set([to]), source });
    }
  }
  return jobs;
}

function emptiest(bytes: ReadonlyMap<WorkerState, number>): WorkerState | null {
  let best: WorkerState | null = null;
  let least = Infinity;
  for (const [worker, held] of bytes) {
    if (held >= least) continue;
    best = worker;
    least = held;
  }
  return best;
}

function inMemory(client: ClientState, ids: readonly number[]): TaskState[] {
  const tasks = new Set<TaskState>();
  for (const id of ids) {
    const task = taskOf(client, id);
    if (task?.state === 'memory' && task.holders !== null) tasks.add(task);
  }
  return [...tasks];
}

function answer(
  tables: Tables,
  client: ClientState,
  request: number,
  { copied, dropped, failed }: CopyBatch,
): void {
  const replicated: Replicated = { copied, dropped, failed };
  if (tables.clients.get(client.session) === client) {
    tables.outbox.toClient(client, reply(request, replicated, null));
  }
}

/**
 * Workers that are to go without loss: no new tasks, unstarted ones are taken back, running ones end
 * (for a while), what only they hold is copied to others; then they are closed. Where nobody can
 * take their data they go on as before, unless they said themselves that they drain.
 */
import { closeWorker, reply, restartWorker } from '@farm/protocol/core';
import type { Retired, RetireParams } from '@farm/protocol/core';

import { workersToClose } from './adaptive.ts';
import { readmitWorker, removeWorker, retireWorker } from './membership.ts';
import { advanceCopies, beginCopies, stayingCopies } from './replication.ts';
import { isNamedBy } from './requirements.ts';
import { heldBy } from './replicas.ts';
import type { ClientState, TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** Attempts to copy everything, while new results appear. */
const ROUNDS_MAX = 5;
/** Results that a draining worker makes are copied so often. */
const DRAIN_LOOK_MS = 500;

/** A question that waits for its workers. */
interface RetireRequest {
  /** Null where nobody asked: a worker that is paused for too long. */
  readonly client: ClientState | null;
  readonly request: number;
  readonly retired: string[];
  readonly kept: { readonly worker: string; readonly reason: string }[];
  left: number;
}

/** One worker on its way out. */
export interface Retirement {
  readonly worker: WorkerState;
  readonly asked: RetireRequest;
  readonly close: boolean;
  /** Its nanny starts it again. */
  readonly restart: boolean;
  /** It has said that it goes: whatever can be copied until then is. */
  isDraining: boolean;
  /** When results that were made meanwhile are copied, while it drains. */
  lookAgainMs: number;
  /** Running tasks are not waited for any longer. */
  readonly deadlineMs: number;
  stage: 'finishing' | 'copying' | 'copied' | 'closing';
  rounds: number;
  closeByMs: number;
  problem: string | null;
}

/** A client asks for workers to go. */
export function takeRetire(
  tables: Tables,
  client: ClientState,
  request: number,
  params: RetireParams,
): void {
  const asked: RetireRequest = { client, request, retired: [], kept: [], left: 0 };
  const chosen = choose(tables, params, asked);
  asked.left = chosen.length;
  for (const worker of chosen) begin(tables, worker, asked, params);
  if (asked.left === 0) answer(tables, asked);
}

/** Workers that are paused for too long are restarted: something there does not let go of memory. */
export function restartPaused(tables: Tables): void {
  const { pausedMaxMs } = tables.config;
  for (const worker of tables.pausedWorkers) {
    if (worker.isLeaving || worker.away !== null || !worker.hello.nanny) continue;
    if (tables.nowMs - worker.pausedSinceMs < pausedMaxMs || tables.closing !== null) continue;
    // Where nobody can take its results it goes on, and this is tried again.
    worker.pausedSinceMs = tables.nowMs;
    const asked: RetireRequest = { client: null, request: 0, retired: [], kept: [], left: 1 };
    begin(tables, worker, asked, { close: true, timeoutMs: pausedMaxMs }, true);
  }
}

/** A worker says that it drains: it goes, with nothing lost as far as that can be had. */
export function takeDraining(tables: Tables, worker: WorkerState): void {
  if (worker.hasSaidLeaving || tables.closing !== null) return;
  const before = [...tables.retirements].find((retirement) => retirement.worker === worker);
  if (before !== undefined) {
    before.isDraining = true;
    return;
  }
  const asked: RetireRequest = { client: null, request: 0, retired: [], kept: [], left: 1 };
  begin(tables, worker, asked, { close: true, timeoutMs: 0 }, false, true);
}

/** Goes on with copies and retirements, as far as their conditions hold. */
export function advanceDrain(tables: Tables): void {
  advanceCopies(tables);
  // What a retirement asks to be copied may be impossible, which it is to know at once.
  while (advanceRetirements(tables)) advanceCopies(tables);
}

/** Returns whether copies are to be looked at. */
function advanceRetirements(tables: Tables): boolean {
  let isCopying = false;
  for (const retirement of tables.retirements) {
    const { worker } = retirement;
    if (tables.workers.get(worker.session) !== worker) {
      settleOne(tables, retirement, null);
      continue;
    }
    const { rounds } = retirement;
    if (retirement.stage === 'finishing') finishRuns(tables, retirement);
    else if (retirement.stage === 'copied') closeOrCopyMore(tables, retirement);
    isCopying ||= retirement.rounds > rounds;
    if (retirement.stage === 'closing' && tables.nowMs >= retirement.closeByMs) {
      const reason = 'it was retired and did not close in time';
      tables.outbox.instruct({ do: 'drop-worker', worker: worker.session, reason });
      removeWorker(tables, worker, reason);
      settleOne(tables, retirement, null);
      // What was on its way to it goes elsewhere.
      isCopying = true;
    }
  }
  return isCopying;
}

function choose(tables: Tables, params: RetireParams, asked: RetireRequest): WorkerState[] {
  const { workers, count } = params;
  if (workers.length === 0) {
    const names = new Set(workersToClose(tables, count));
    return [...tables.accepting].filter(({ name }) => names.has(name));
  }
  const chosen: WorkerState[] = [];
  for (const worker of tables.workers.values()) {
    if (!isNamedBy({ workers }, worker)) continue;
    if (worker.isLeaving) asked.kept.push({ worker: worker.name, reason: 'it is leaving already' });
    else chosen.push(worker);
  }
  for (const name of workers) {
    const isFound = [...tables.workers.values()].some((worker) =>
      isNamedBy({ workers: [name] }, worker),
    );
    if (!isFound) asked.kept.push({ worker: name, reason: 'no worker of this name is connected' });
  }
  return chosen;
}

function begin(
  tables: Tables,
  worker: WorkerState,
  asked: RetireRequest,
  { close, timeoutMs }: Pick<RetireParams, 'close' | 'timeoutMs'>,
  restart: boolean = false,
  isDraining: boolean = false,
): void {
  retireWorker(tables, worker);
  worker.isRetiring = true;
  const runs = [...worker.runs.values()].flatMap(({ task, run }) => (task === null ? [] : [run]));
  // Those that have not started come back at once. One that drains hands them back unasked.
  if (!isDraining) for (const run of runs) tables.outbox.stop(worker, run, false);
  tables.retirements.add({
    worker,
    asked,
    close,
    restart,
    isDraining,
    lookAgainMs: tables.nowMs,
    deadlineMs: tables.nowMs + timeoutMs,
    stage: 'finishing',
    rounds: 0,
    closeByMs: Infinity,
    problem: null,
  });
  const message = restart
    ? `worker ${worker.name} has been paused for too long and is to restart`
    : `worker ${worker.name} is to retire`;
  tables.outbox.instruct({ do: 'log', level: 'info', message });
}

function finishRuns(tables: Tables, retirement: Retirement): void {
  const { worker, deadlineMs, isDraining, lookAgainMs } = retirement;
  // Values on their way to it would be lost with it, and are soon there.
  if (tables.scatters.areBoundFor(worker)) return;
  const untilMs = isDraining ? lookAgainMs : deadlineMs;
  if (worker.runs.size > 0 && tables.nowMs < untilMs) return;
  copyOut(tables, retirement, unsafe(tables, worker));
}

function copyOut(tables: Tables, retirement: Retirement, tasks: readonly TaskState[]): void {
  retirement.stage = 'copying';
  retirement.rounds += 1;
  const jobs = tasks.map((task) => ({ task, want: 1, allowed: null, source: null }));
  beginCopies(tables, jobs, ({ failed }) => {
    // A result that is gone meanwhile need not be copied.
    const [first] = failed;
    retirement.problem =
      first === undefined ? null : `no-recipients: ${first.key}: ${first.reason}`;
    retirement.stage = 'copied';
  });
}

function closeOrCopyMore(tables: Tables, retirement: Retirement): void {
  const { worker, close, problem, isDraining } = retirement;
  if (isDraining && worker.runs.size > 0) {
    // It gives them up itself when it cannot wait any longer.
    retirement.stage = 'finishing';
    retirement.rounds = 0;
    retirement.lookAgainMs = tables.nowMs + DRAIN_LOOK_MS;
    return;
  }
  const left = unsafe(tables, worker);
  if (left.length > 0) {
    if (problem === null && retirement.rounds < ROUNDS_MAX) {
      copyOut(tables, retirement, left);
      return;
    }
    if (isDraining) logLost(tables, worker, left.length, problem);
    else {
      settleOne(tables, retirement, problem ?? 'it makes results faster than they are copied');
      return;
    }
  }
  if (!close && !isDraining) {
    settleOne(tables, retirement, null);
    return;
  }
  retirement.stage = 'closing';
  retirement.closeByMs = tables.nowMs + tables.config.shutdownMs;
  const { restart } = retirement;
  const closing = left.length > 0 ? 'it drained, not everything was copied' : 'it was retired';
  const paused = 'it was paused for too long';
  tables.outbox.toWorker(worker, restart ? restartWorker(paused) : closeWorker(closing));
}

function logLost(
  tables: Tables,
  { name }: WorkerState,
  count: number,
  problem: string | null,
): void {
  const reason = problem === null ? '' : `: ${problem}`;
  const message = `worker ${name} goes with ${count} results that are nowhere else${reason}`;
  tables.outbox.instruct({ do: 'log', level: 'warn', message });
}

/** Results that would be lost with the worker. */
function unsafe(tables: Tables, worker: WorkerState): TaskState[] {
  return heldBy(tables, worker).filter((task) => task.valueAt < 0 && stayingCopies(task) === 0);
}

/** The worker is retired, or goes on as before for a reason. */
function settleOne(tables: Tables, retirement: Retirement, whyKept: string | null): void {
  const { worker, asked } = retirement;
  tables.retirements.delete(retirement);
  worker.isRetiring = false;
  if (whyKept === null) {
    asked.retired.push(worker.name);
  } else {
    asked.kept.push({ worker: worker.name, reason: whyKept });
    const message = `worker ${worker.name} cannot retire: ${whyKept}`;
    tables.outbox.instruct({ do: 'log', level: 'warn', message });
    if (!worker.hasSaidLeaving && tables.closing === null) readmitWorker(tables, worker);
  }
  asked.left -= 1;
  if (asked.left === 0) answer(tables, asked);
}

function answer(tables: Tables, { client, request, retired, kept }: RetireRequest): void {
  const answered: Retired = { retired, kept };
  if (client !== null && tables.clients.get(client.session) === client) {
    tables.outbox.toClient(client, reply(request, answered, null));
  }
}

/**
 * Workers and clients whose connection was lost and may come back. Meanwhile nothing is taken from
 * them: a worker keeps its runs and results and gets no new runs, a client keeps its wants. What is
 * said to them waits in their connection. After a lease they count as gone.
 *
 * Leases are counted on a clock that stands still with this process: after it was paused, or its
 * machine slept, the others have their time to come back.
 */
import { matchFreeWorker, removeWorker, unmatchAll } from './membership.ts';
import { removeClient } from './release.ts';
import type { ClientState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { acceptRuns, canTakeRuns, pauseRuns } from './workload.ts';

/** Most that one event moves the clock of leases on. Ticks come more often than that. */
const STEP_MS_MAX = 1_000;

/** Time passed, by the clock of the events. */
export function runLeases(tables: Tables, passedMs: number): void {
  tables.awakeMs += Math.min(passedMs, STEP_MS_MAX);
}

/** A worker's connection is lost, though its process may live. */
export function loseSight(tables: Tables, worker: WorkerState, reason: string): void {
  if (worker.away !== null) return;
  const { workerLeaseMs } = tables.config;
  tables.cause = `worker ${worker.name} is away: ${reason}`;
  worker.away = { endMs: tables.awakeMs + workerLeaseMs, reason };
  tables.awayWorkers.add(worker);
  pauseRuns(tables, worker);
  unmatchAll(tables, worker);
  const wait = `waiting ${workerLeaseMs / 1_000} s for it to come back`;
  log(tables, 'warn', `worker ${worker.name} is away, ${wait}: ${reason}`);
}

/** It has come back, and has lost nothing. */
export function regainSight(tables: Tables, worker: WorkerState): void {
  if (worker.away === null) return;
  tables.cause = `worker ${worker.name} is back`;
  worker.away = null;
  worker.heardMs = tables.nowMs;
  tables.awayWorkers.delete(worker);
  if (canTakeRuns(worker)) {
    matchFreeWorker(tables, worker);
    acceptRuns(tables, worker);
  }
  log(tables, 'info', `worker ${worker.name} is back, with ${worker.runs.size} runs`);
}

/** A client's connection is lost, though it may come back. */
export function loseClient(tables: Tables, client: ClientState, reason: string): void {
  if (client.away !== null) return;
  client.away = { endMs: tables.awakeMs + tables.config.clientLeaseMs, reason };
  tables.awayClients.add(client);
}

/** It has come back. */
export function regainClient(tables: Tables, client: ClientState): void {
  client.away = null;
  tables.awayClients.delete(client);
}

/** Those whose lease is over are gone. */
export function endLeases(tables: Tables): void {
  const { awakeMs, outbox } = tables;
  for (const worker of tables.awayWorkers) {
    if (worker.away === null || worker.away.endMs > awakeMs) continue;
    const reason = `${worker.away.reason}; it did not come back in time`;
    removeWorker(tables, worker, reason);
    outbox.instruct({ do: 'drop-worker', worker: worker.session, reason });
  }
  for (const client of tables.awayClients) {
    if (client.away === null || client.away.endMs > awakeMs) continue;
    const reason = `${client.away.reason}; it did not come back in time`;
    tables.cause = `client ${client.hello.name} lost: ${reason}`;
    removeClient(tables, client);
    outbox.instruct({ do: 'drop-client', client: client.session, reason });
  }
}

function log(tables: Tables, level: 'info' | 'warn', message: string): void {
  tables.outbox.instruct({ do: 'log', level, message });
}

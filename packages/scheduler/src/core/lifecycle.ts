/** How it ends: asked to, or idle for too long. */
import { closeWorker, formatDuration, goodbye } from '@farm/protocol/core';

import { retireWorker } from './membership.ts';
import type { Tables } from './tables.ts';

/** Tells everybody to leave. Ends when all workers have, or after a while. */
export function beginShutdown(tables: Tables, reason: string): void {
  if (tables.closing !== null) return;
  const deadlineMs = tables.nowMs + tables.config.shutdownMs;
  tables.closing = { reason, deadlineMs };
  tables.outbox.instruct({ do: 'log', level: 'info', message: `closing: ${reason}` });
  for (const worker of tables.workers.values()) {
    tables.outbox.toWorker(worker, closeWorker(reason));
    retireWorker(tables, worker);
  }
  for (const client of tables.clients.values()) tables.outbox.toClient(client, goodbye(reason));
}

/** Looks whether it is time to end, or when to look again: at the earliest of all deadlines. */
export function checkTime(tables: Tables): void {
  const dueMs = Math.min(checkIdle(tables), checkClosing(tables), nextDeadline(tables));
  if (dueMs < Infinity) wakeAt(tables, dueMs);
}

/** When what waits for a moment in time has to be looked at; Infinity where nothing does. */
function nextDeadline(tables: Tables): number {
  const delayMs = tables.delays.peek()?.dueMs ?? Infinity;
  return Math.min(tables.coordination.waiting.earliestMs, delayMs);
}

/** Returns when to look again. */
function checkClosing(tables: Tables): number {
  if (tables.closing === null || tables.hasExited) return Infinity;
  const { reason, deadlineMs } = tables.closing;
  // Nothing can be expected of those that are away.
  const present = tables.workers.size - tables.awayWorkers.size;
  if (present > 0 && tables.nowMs < deadlineMs) return deadlineMs;
  tables.hasExited = true;
  tables.outbox.instruct({ do: 'exit', reason });
  return Infinity;
}

/** Returns when to look again. */
function checkIdle(tables: Tables): number {
  const { idleTimeoutMs } = tables.config;
  const { waiting, queued, processing, 'no-worker': unrunnable } = tables.counts;
  if (waiting + queued + processing + unrunnable > 0) tables.busyMs = tables.nowMs;
  if (idleTimeoutMs === null || tables.closing !== null) return Infinity;
  const dueMs = tables.busyMs + idleTimeoutMs;
  if (tables.nowMs < dueMs) return dueMs;
  beginShutdown(tables, `idle for ${formatDuration(idleTimeoutMs)}`);
  return Infinity;
}

function wakeAt(tables: Tables, atMs: number): void {
  if (tables.wakeAtMs === atMs) return;
  tables.wakeAtMs = atMs;
  // By the clock of whoever is asked.
  tables.outbox.instruct({ do: 'wake-at', atMs: atMs - tables.nowMs + tables.clockMs });
}

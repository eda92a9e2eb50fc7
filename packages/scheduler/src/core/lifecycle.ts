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

/** Looks whether it is time to end, or when to look again. */
export function checkTime(tables: Tables): void {
  checkIdle(tables);
  if (tables.closing === null || tables.hasExited) return;
  const { reason, deadlineMs } = tables.closing;
  if (tables.workers.size > 0 && tables.nowMs < deadlineMs) {
    wakeAt(tables, deadlineMs);
    return;
  }
  tables.hasExited = true;
  tables.outbox.instruct({ do: 'exit', reason });
}

function checkIdle(tables: Tables): void {
  const { idleTimeoutMs } = tables.config;
  const { waiting, queued, processing, 'no-worker': unrunnable } = tables.counts;
  if (waiting + queued + processing + unrunnable > 0) tables.busyMs = tables.nowMs;
  if (idleTimeoutMs === null || tables.closing !== null) return;
  const dueMs = tables.busyMs + idleTimeoutMs;
  if (tables.nowMs >= dueMs) beginShutdown(tables, `idle for ${formatDuration(idleTimeoutMs)}`);
  else wakeAt(tables, dueMs);
}

function wakeAt(tables: Tables, atMs: number): void {
  if (tables.wakeAtMs === atMs) return;
  tables.wakeAtMs = atMs;
  tables.outbox.instruct({ do: 'wake-at', atMs });
}

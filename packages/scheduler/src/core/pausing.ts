/**
 * Workers that are short of memory. A paused worker has handed back what it had not started, and
 * gets nothing new until it says that it resumes.
 */
import { matchFreeWorker, unmatchAll } from './membership.ts';
import type { WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { acceptRuns, pauseRuns } from './workload.ts';

/** A worker says whether it is paused. */
export function takePaused(tables: Tables, worker: WorkerState, isPaused: boolean): void {
  if (worker.isPaused === isPaused) return;
  worker.isPaused = isPaused;
  worker.pausedSinceMs = tables.nowMs;
  if (isPaused) tables.pausedWorkers.add(worker);
  else tables.pausedWorkers.delete(worker);
  const cause = `worker ${worker.name} ${isPaused ? 'paused' : 'resumed'}`;
  tables.cause = cause;
  const rssBytes = worker.metrics?.rssBytes ?? 0;
  const message = `${cause}: it takes ${Math.round(rssBytes / 2 ** 20)} MiB of memory`;
  tables.outbox.instruct({ do: 'log', level: isPaused ? 'warn' : 'info', message });
  if (worker.isLeaving || worker.away !== null || worker.plugins.missing.size > 0) return;
  if (isPaused) {
    pauseRuns(tables, worker);
    unmatchAll(tables, worker);
  } else {
    matchFreeWorker(tables, worker);
    acceptRuns(tables, worker);
  }
}

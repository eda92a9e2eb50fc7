/**
 * Deaths of workers, and the tasks that are blamed for them. The scheduler sees a connection end; a
 * nanny sees exit code, signal, memory and the last lines of the log, and tells them with the hello
 * of the next process. So a task that is given up waits a moment for the description of the last
 * death, where the worker had a nanny.
 */
import { failure } from '@farm/protocol/core';
import type { Failure, PreviousDeath } from '@farm/protocol/core';

import type { TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** Deaths that are remembered for a description to come. */
const DEATHS_MAX = 1_000;
/** Characters of a log that are repeated in a failure, for each death. */
const LOG_LENGTH_MAX = 500;

/** One death of a worker. */
export interface Death {
  readonly worker: string;
  readonly host: string;
  readonly pid: number;
  /** What the scheduler saw. */
  readonly reason: string;
  /** Resident memory at its last heartbeat, or when its nanny last looked; null if never told. */
  rssBytes: number | null;
  /** What its nanny told; null before it did. */
  told: PreviousDeath | null;
  /** Tasks that are given up as soon as more is known. */
  readonly condemned: Set<TaskState>;
}

/** A worker died. */
export function recordDeath(tables: Tables, worker: WorkerState, reason: string): Death {
  const { name, host, pid } = worker.hello;
  const rssBytes = worker.metrics?.rssBytes ?? null;
  const death: Death = {
    worker: name,
    host,
    pid,
    reason,
    rssBytes: rssBytes === 0 ? null : rssBytes,
    told: null,
    condemned: new Set(),
  };
  tables.deaths.set(deathId(host, pid), death);
  if (tables.deaths.size > DEATHS_MAX) {
    for (const oldest of tables.deaths.keys()) {
      tables.deaths.delete(oldest);
      break;
    }
  }
  return death;
}

/** The failure of a task that has seen too many deaths. */
export function condemnation(task: TaskState): Failure {
  const deaths = task.trouble?.deaths ?? [];
  const { key } = task;
  const why =
    `${key} was running on ${deaths.length} workers when they died: ` +
    `${deaths.map(describe).join('; ')}. ` +
    'It may take more memory than they have, or crash them';
  return failure('ERR_KILLED_WORKER', why, key, deaths.at(-1)?.worker ?? null, null);
}

/** A death in words: worker, host, how it ended, memory, last lines of its log. */
export function describe(death: Death): string {
  const { worker, host, pid, reason, rssBytes, told } = death;
  const parts = [`${worker} on ${host} (pid ${pid}): ${reason}`];
  if (told !== null) {
    parts.push(told.signal === null ? `exit code ${told.exitCode}` : `signal ${told.signal}`);
  }
  if (rssBytes !== null) parts.push(`${Math.round(rssBytes / 2 ** 20)} MiB of memory`);
  const log = told?.logTail.trim() ?? '';
  if (log !== '') parts.push(`last log lines: ${log.slice(-LOG_LENGTH_MAX)}`);
  return parts.join(', ');
}

/** What a death is found by. */
export function deathId(host: string, pid: number): string {
  return `${pid} ${host}`;
}

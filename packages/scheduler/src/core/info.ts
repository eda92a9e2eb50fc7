import type { PrefixInfo, SchedulerInfo, WorkerInfo, WorkerStatus } from '@farm/protocol/core';

import type { Prefix } from './durations.ts';
import { heldUpFor } from './held-up.ts';
import type { ClientState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** Prefixes that are told. */
const PREFIXES_MAX = 1_000;

/** Identity, workers and task counts, as a client is told them; null for nobody in particular. */
export function schedulerInfo(
  tables: Tables,
  nowMs: number,
  client: ClientState | null,
): SchedulerInfo {
  const { id, address, startedMs } = tables.config;
  const ownMs = nowMs + tables.nowMs - tables.clockMs;
  const workers = [...tables.workers.values()].map((worker) => workerInfo(worker, ownMs));
  const tasks = { ...tables.counts };
  const prefixes = tables.durations.latest().slice(0, PREFIXES_MAX).map(prefixInfo);
  const heldUp = client === null ? [] : heldUpFor(tables, client);
  return {
    type: 'Scheduler',
    id,
    address,
    startedMs,
    workers,
    clients: tables.clients.size,
    tasks,
    prefixes,
    heldUp,
  };
}

function prefixInfo({ name, meanUs, meanBytes, finished, counts }: Prefix): PrefixInfo {
  const meanMs = meanUs === null ? null : meanUs / 1_000;
  return { name, meanMs, meanBytes, finished, tasks: { ...counts } };
}

function workerInfo(worker: WorkerState, nowMs: number): WorkerInfo {
  const { hello } = worker;
  return {
    name: hello.name,
    status: statusOf(worker),
    address: hello.address,
    host: hello.host,
    pid: hello.pid,
    nthreads: hello.nthreads,
    resources: hello.resources,
    memoryLimitBytes: hello.memoryLimitBytes,
    localDirectory: hello.localDirectory,
    nanny: hello.nanny,
    processing: worker.runs.size,
    occupancyMs: worker.occupancyUs / 1_000,
    metrics: worker.metrics,
    silentMs: Math.max(0, nowMs - worker.heardMs),
  };
}

function statusOf({ away, isLeaving }: WorkerState): WorkerStatus {
  if (away !== null) return 'away';
  return isLeaving ? 'retiring' : 'running';
}

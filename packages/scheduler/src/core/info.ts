import type { SchedulerInfo, WorkerInfo } from '@farm/protocol/core';

import type { WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** Identity, workers and task counts. */
export function schedulerInfo(tables: Tables, nowMs: number): SchedulerInfo {
  const { id, address, startedMs } = tables.config;
  const workers = [...tables.workers.values()].map((worker) => workerInfo(worker, nowMs));
  const { size } = tables.clients;
  const tasks = { ...tables.counts };
  return { type: 'Scheduler', id, address, startedMs, workers, clients: size, tasks };
}

function workerInfo(worker: WorkerState, nowMs: number): WorkerInfo {
  const { hello } = worker;
  return {
    name: hello.name,
    address: hello.address,
    host: hello.host,
    pid: hello.pid,
    nthreads: hello.nthreads,
    resources: hello.resources,
    memoryLimitBytes: hello.memoryLimitBytes,
    localDirectory: hello.localDirectory,
    nanny: hello.nanny,
    processing: worker.runs.size,
    metrics: worker.metrics,
    silentMs: Math.max(0, nowMs - worker.heardMs),
  };
}

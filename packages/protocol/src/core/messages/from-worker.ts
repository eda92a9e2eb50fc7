/** What a worker says to the scheduler, and peers to each other. */
import type { PluginSet } from './plugins.ts';
import type { Failure } from './records.ts';
import type { DataFailed } from './to-client.ts';

/** Runs that ended well. */
export interface Finished {
  readonly op: 'finished';
  readonly runs: readonly number[];
  /** Bytes of each encoded result, at least 1. */
  readonly sizes: readonly number[];
  /** Small results, back to back; an empty slice means the worker holds it. */
  readonly values: Uint8Array;
  readonly ends: readonly number[];
  readonly durationsUs: readonly number[];
}

/** Builds a {@link Finished}. */
export function finished(fields: Omit<Finished, 'op'>): Finished {
  return {
    op: 'finished',
    runs: fields.runs,
    sizes: fields.sizes,
    values: fields.values,
    ends: fields.ends,
    durationsUs: fields.durationsUs,
  };
}

/** A run that failed. */
export interface RunFailed {
  readonly op: 'run-failed';
  readonly run: number;
  readonly failure: Failure;
  readonly durationUs: number;
}

/** Builds a {@link RunFailed}. */
export function runFailed(runId: number, why: Failure, durationUs: number): RunFailed {
  return { op: 'run-failed', run: runId, failure: why, durationUs };
}

/** Answer to {@link Stop}: `runs` are gone, `kept` are running or done. Also sent unasked for runs
 * that a worker hands back unstarted. */
export interface Stopped {
  readonly op: 'stopped';
  readonly runs: readonly number[];
  readonly kept: readonly number[];
}

/** Builds a {@link Stopped}. */
export function stopped(runs: readonly number[], kept: readonly number[]): Stopped {
  return { op: 'stopped', runs, kept };
}

/** The worker holds copies of these results now. */
export interface Holding {
  readonly op: 'holding';
  readonly tasks: readonly number[];
}

/** Builds a {@link Holding}. */
export function holding(tasks: readonly number[]): Holding {
  return { op: 'holding', tasks };
}

/** Results the worker held are gone: what they were spilled to is damaged. */
export interface Lost {
  readonly op: 'lost';
  readonly tasks: readonly number[];
}

/** Builds a {@link Lost}. */
export function lost(tasks: readonly number[]): Lost {
  return { op: 'lost', tasks };
}

/** Runs that wait for other tasks: they go on without a slot until they end. */
export interface Seceded {
  readonly op: 'seceded';
  readonly runs: readonly number[];
}

/** Builds a {@link Seceded}. */
export function seceded(runs: readonly number[]): Seceded {
  return { op: 'seceded', runs };
}

/** A copy the worker was told to fetch could not be had. */
export interface AcquireFailed {
  readonly op: 'acquire-failed';
  readonly task: number;
  /** Addresses that were asked in vain. */
  readonly holders: readonly string[];
}

/** Builds an {@link AcquireFailed}. */
export function acquireFailed(task: number, holders: readonly string[]): AcquireFailed {
  return { op: 'acquire-failed', task, holders };
}

/** A run could not start since an input is nowhere to be had. The run is given up. */
export interface InputMissing {
  readonly op: 'input-missing';
  readonly run: number;
  readonly task: number;
  /** Addresses that were asked in vain. */
  readonly holders: readonly string[];
}

/** Builds an {@link InputMissing}. */
export function inputMissing(
  runId: number,
  task: number,
  holders: readonly string[],
): InputMissing {
  return { op: 'input-missing', run: runId, task, holders };
}

/** State of a worker process. */
export interface WorkerMetrics {
  /** Resident memory, bytes. */
  readonly rssBytes: number;
  /** Bytes of results held. */
  readonly storedBytes: number;
  /** Processor use since the last heartbeat, 1 = one core. */
  readonly cpu: number;
  /** Longest stall of the event loop since the last heartbeat. */
  readonly loopLagMs: number;
  readonly executing: number;
  readonly queued: number;
  /** Bytes of results that are only in files, part of `storedBytes`. */
  readonly spilledBytes: number;
  /** It is short of memory and takes no runs. */
  readonly paused: boolean;
}

/** Says the worker is alive, how it is, and what it executes. */
export interface WorkerHeartbeat {
  readonly op: 'worker-heartbeat';
  readonly metrics: WorkerMetrics;
  /** Runs that have started and not ended. */
  readonly executing: readonly number[];
}

/** Builds a {@link WorkerHeartbeat}. */
export function workerHeartbeat(
  metrics: WorkerMetrics,
  executing: readonly number[],
): WorkerHeartbeat {
  return { op: 'worker-heartbeat', metrics, executing };
}

/** Builds {@link WorkerMetrics} with the wire's key order. */
export function workerMetrics(metrics: WorkerMetrics): WorkerMetrics {
  return {
    rssBytes: metrics.rssBytes,
    storedBytes: metrics.storedBytes,
    cpu: metrics.cpu,
    loopLagMs: metrics.loopLagMs,
    executing: metrics.executing,
    queued: metrics.queued,
    spilledBytes: metrics.spilledBytes,
    paused: metrics.paused,
  };
}

/** What a run has taken, where that was measured. Said before its end is told. */
export interface RunUsage {
  readonly op: 'run-usage';
  readonly run: number;
  /** The most memory that was seen, bytes; null where nobody looked. */
  readonly peakBytes: number | null;
  /**
   * Processor time, microseconds: of a command and what it started, of a function's thread or process;
   * null where it is not known.
   */
  readonly cpuUs: number | null;
}

/** Builds a {@link RunUsage}. */
export function runUsage(runId: number, peakBytes: number | null, cpuUs: number | null): RunUsage {
  return { op: 'run-usage', run: runId, peakBytes, cpuUs };
}

/** The worker asks the scheduler to relay an input it cannot fetch from a peer. */
export interface GetRelayed {
  readonly op: 'get-relayed';
  readonly request: number;
  readonly task: number;
  readonly offset: number;
  readonly length: number;
}

/** Builds a {@link GetRelayed}. */
export function getRelayed(
  request: number,
  task: number,
  offset: number,
  length: number,
): GetRelayed {
  return { op: 'get-relayed', request, task, offset, length };
}

/** The worker leaves on purpose: its running tasks are nobody's fault. */
export interface Leaving {
  readonly op: 'leaving';
  readonly reason: string;
}

/** Builds a {@link Leaving}. */
export function leaving(reason: string): Leaving {
  return { op: 'leaving', reason };
}

/**
 * The worker is to end soon and takes no more runs: what only it holds is to be copied to others,
 * while what it executes ends; then it is to be told {@link CloseWorker}. It goes in any case.
 */
export interface Draining {
  readonly op: 'draining';
  readonly reason: string;
}

/** Builds a {@link Draining}. */
export function draining(reason: string): Draining {
  return { op: 'draining', reason };
}

/** Everything a worker may say to the scheduler. */
export type WorkerMessage =
  | Finished
  | RunFailed
  | RunUsage
  | Stopped
  | Holding
  | Lost
  | AcquireFailed
  | Seceded
  | InputMissing
  | GetRelayed
  | DataFailed
  | WorkerHeartbeat
  | PluginSet
  | Draining
  | Leaving;

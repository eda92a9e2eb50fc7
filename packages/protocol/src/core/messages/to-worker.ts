/** What the scheduler says to a worker. */
import type { SetPlugin } from './plugins.ts';
import type { ResourceAmounts } from './records.ts';
import type { DataFailed } from './to-client.ts';

/** Makes a function known to a worker before the first run that names it. */
export interface DefineWorkerFunction {
  readonly op: 'define-worker-function';
  readonly fn: number;
  readonly name: string;
  readonly spec: Uint8Array;
}

/** Builds a {@link DefineWorkerFunction}. */
export function defineWorkerFunction(
  fn: number,
  name: string,
  spec: Uint8Array,
): DefineWorkerFunction {
  return { op: 'define-worker-function', fn, name, spec };
}

/** No run will name these functions any more. */
export interface ForgetFunctions {
  readonly op: 'forget-functions';
  readonly fns: readonly number[];
}

/** Builds a {@link ForgetFunctions}. */
export function forgetFunctions(fns: readonly number[]): ForgetFunctions {
  return { op: 'forget-functions', fns };
}

/** One input of a run. */
export interface RunDependency {
  readonly task: number;
  readonly size: number;
  /** Peer addresses that hold it, best first; empty where only the scheduler can relay it. */
  readonly holders: readonly string[];
  /** The encoded value itself where it is small and at hand. */
  readonly value: Uint8Array | null;
}

/** Builds a {@link RunDependency}. */
export function runDependency(
  task: number,
  size: number,
  holders: readonly string[],
  value: Uint8Array | null,
): RunDependency {
  return { task, size, holders, value };
}

/**
 * Devices that one run is granted: for each of the resources of its message their places in the
 * worker's list, whole ones first, none for an amount.
 */
export type GrantedPlaces = readonly (readonly number[])[];

/** Run these tasks of one block, in this order. */
export interface Run {
  readonly op: 'run';
  readonly fn: number;
  /** As in {@link Submit}; `indices` is null for a block of one. */
  readonly key: string;
  readonly indices: readonly number[] | null;
  readonly tasks: readonly number[];
  readonly runs: readonly number[];
  readonly args: Uint8Array;
  readonly ends: readonly number[];
  /** Inputs of each task in reference order; null where no task of this message has any. */
  readonly dependencies: readonly (readonly RunDependency[])[] | null;
  /** Slots each task takes. */
  readonly threads: number;
  /** What each task is granted besides threads. */
  readonly resources: ResourceAmounts;
  /** Its devices, of each task; null where none of the resources stands for devices. */
  readonly devices: readonly GrantedPlaces[] | null;
  readonly timeoutMs: number | null;
  /** Number of this attempt, from 1, of each task; null where all are first attempts. */
  readonly attempts: readonly number[] | null;
  /** Expected duration of one task, microseconds; null while unknown. Sizes batches to a slot. */
  readonly expectedUs: number | null;
}

/** Builds a {@link Run}. Without `devices`, none are granted. */
export function run(
  fields: Omit<Run, 'op' | 'devices'> & { readonly devices?: Run['devices'] },
): Run {
  return {
    op: 'run',
    fn: fields.fn,
    key: fields.key,
    indices: fields.indices,
    tasks: fields.tasks,
    runs: fields.runs,
    args: fields.args,
    ends: fields.ends,
    dependencies: fields.dependencies,
    threads: fields.threads,
    resources: fields.resources,
    devices: fields.devices ?? null,
    timeoutMs: fields.timeoutMs,
    attempts: fields.attempts,
    expectedUs: fields.expectedUs,
  };
}

/** Drop these results. */
export interface Free {
  readonly op: 'free';
  readonly tasks: readonly number[];
}

/** Builds a {@link Free}. */
export function free(tasks: readonly number[]): Free {
  return { op: 'free', tasks };
}

/**
 * Give up these runs. Unstarted ones always; running ones are terminated where `running` is true
 * and kept otherwise (a steal). Answered by {@link Stopped} once they are really gone.
 */
export interface Stop {
  readonly op: 'stop';
  readonly runs: readonly number[];
  readonly running: boolean;
}

/** Builds a {@link Stop}. */
export function stop(runs: readonly number[], running: boolean): Stop {
  return { op: 'stop', runs, running };
}

/** Asks a worker (or a peer) for bytes of a result. Answered by a bulk frame or `data-failed`. */
export interface GetData {
  readonly op: 'get-data';
  readonly request: number;
  readonly task: number;
  readonly offset: number;
  readonly length: number;
}

/** Builds a {@link GetData}. */
export function getData(request: number, task: number, offset: number, length: number): GetData {
  return { op: 'get-data', request, task, offset, length };
}

/** Stop working and exit. */
export interface CloseWorker {
  readonly op: 'close-worker';
  readonly reason: string;
}

/** Builds a {@link CloseWorker}. */
export function closeWorker(reason: string): CloseWorker {
  return { op: 'close-worker', reason };
}

/** Stop working and exit, to be started again by the nanny. */
export interface RestartWorker {
  readonly op: 'restart-worker';
  readonly reason: string;
}

/** Builds a {@link RestartWorker}. */
export function restartWorker(reason: string): RestartWorker {
  return { op: 'restart-worker', reason };
}

/** Keep these values. Answered by {@link Holding}. */
export interface PutData {
  readonly op: 'put-data';
  readonly tasks: readonly number[];
  /** Encoded values, back to back. */
  readonly values: Uint8Array;
  readonly ends: readonly number[];
}

/** Builds a {@link PutData}. */
export function putData(
  tasks: readonly number[],
  values: Uint8Array,
  ends: readonly number[],
): PutData {
  return { op: 'put-data', tasks, values, ends };
}

/** Fetch a copy of a result and keep it. Answered by {@link Holding} or {@link AcquireFailed}. */
export interface Acquire {
  readonly op: 'acquire';
  readonly task: number;
  readonly size: number;
  /** Peer addresses that hold it; empty where only the scheduler can relay it. */
  readonly holders: readonly string[];
}

/** Builds an {@link Acquire}. */
export function acquire(task: number, size: number, holders: readonly string[]): Acquire {
  return { op: 'acquire', task, size, holders };
}

/** Everything the scheduler may say to a worker. `data-failed` answers a relayed get-data. */
export type WorkerBoundMessage =
  | DefineWorkerFunction
  | ForgetFunctions
  | Run
  | Free
  | Stop
  | PutData
  | Acquire
  | GetData
  | DataFailed
  | CloseWorker
  | RestartWorker
  | SetPlugin;

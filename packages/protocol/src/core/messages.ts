/**
 * Every control message of the wire.
 *
 * Messages are plain objects with a literal `op`. Key order is part of a message's shape on the
 * wire (see the codec), so messages are built by the factory functions below and nowhere else.
 *
 * Hot messages carry columns: parallel arrays with one entry per task, and byte columns, which are
 * one `Uint8Array` with an `ends` column (entry i spans `ends[i - 1] ?? 0` to `ends[i]`). Columns
 * named `…Column` are packed little-endian u32 (see `u32-column.ts`); user values stay encoded
 * bytes that nobody but client and task ever decodes.
 *
 * Numbers that identify: `id` is a client's own number of a future (unique per client session,
 * below 2^32); `task` is the scheduler's number of a task; `run` is one assignment of a task to a
 * worker, never reused; `fn` is the scheduler's number of a function; `request` is the asker's own
 * number of a question.
 */
import type { ErrorCode } from './errors.ts';

/** Peers with different numbers refuse each other at the handshake. */
export const PROTOCOL_VERSION = 1;

/** What a connection may say. Client and worker have different tokens; peers are workers. */
export type Role = 'client' | 'worker' | 'peer';

/** Named amounts, for example `[['GPU', 1], ['MEM', 10e9]]`. Pairs, so that no name can collide
 * with an object's own properties. */
export type ResourceAmounts = readonly (readonly [name: string, amount: number])[];

// --- Handshake: JSON text frames, readable by every version -------------------------------------

/** First frame of a client. */
export interface ClientHello {
  readonly op: 'hello';
  readonly role: 'client';
  readonly protocol: number;
  /** Package version, for messages to humans. */
  readonly version: string;
  /** Random name of this process's session; a reconnect repeats it. */
  readonly incarnation: string;
  readonly name: string;
}

/** First frame of a worker towards the scheduler. */
export interface WorkerHello {
  readonly op: 'hello';
  readonly role: 'worker';
  readonly protocol: number;
  readonly version: string;
  readonly incarnation: string;
  readonly name: string;
  /** Execution slots. */
  readonly nthreads: number;
  readonly resources: ResourceAmounts;
  /** Null means no limit. */
  readonly memoryLimitBytes: number | null;
  /** Where peers reach this worker's data, `tcp://host:port`; null where they cannot. */
  readonly address: string | null;
  readonly host: string;
  readonly pid: number;
  readonly localDirectory: string;
  readonly nanny: boolean;
}

/** First frame of a worker towards another worker. */
export interface PeerHello {
  readonly op: 'hello';
  readonly role: 'peer';
  readonly protocol: number;
  readonly version: string;
  readonly incarnation: string;
  readonly name: string;
}

/** What opens a connection. */
export type Hello = ClientHello | WorkerHello | PeerHello;

/** The accepting answer to a hello. */
export interface Welcome {
  readonly op: 'welcome';
  readonly protocol: number;
  readonly version: string;
  /** Identity of the answering scheduler or worker; changes at every start. */
  readonly id: string;
  /** How often the dialing side says it is alive. */
  readonly heartbeatMs: number;
}

/** The refusing answer to a hello; the connection closes after it. */
export interface Refusal {
  readonly op: 'refusal';
  readonly protocol: number;
  readonly version: string;
  readonly code: ErrorCode;
  readonly message: string;
}

// --- Shared records -----------------------------------------------------------------------------

/** Why a task has no result. */
export interface Failure {
  readonly code: ErrorCode;
  /** One bounded line for humans. */
  readonly message: string;
  /** Key of the task that failed first; equals the task's own key unless a dependency failed. */
  readonly origin: string;
  /** Name of the worker it failed on, if any. */
  readonly worker: string | null;
  /** What user code threw (`encodeError`), undecoded; null where farm itself is the cause. */
  readonly error: Uint8Array | null;
}

/** Builds a {@link Failure}. */
export function failure(
  code: ErrorCode,
  message: string,
  origin: string,
  worker: string | null,
  error: Uint8Array | null,
): Failure {
  return { code, message, origin, worker, error };
}

/** How a block of tasks is to be run. */
export interface TaskOptions {
  /** Amounts a worker must have free. `threads` counts slots and is 1 unless said otherwise. */
  readonly resources: ResourceAmounts;
  /** Worker names, addresses or hosts the tasks are restricted to; empty means any. */
  readonly workers: readonly string[];
  /** Whether the restriction is a preference only. */
  readonly allowOtherWorkers: boolean;
  /** How often a failed task is tried again. Deaths of workers are not counted. */
  readonly retries: number;
  /** Larger runs earlier. */
  readonly priority: number;
  /** Longest run of one attempt, from its start. Null means no limit. */
  readonly timeoutMs: number | null;
}

/** The options of a task nobody asked anything special for. */
export const DEFAULT_TASK_OPTIONS: TaskOptions = {
  resources: [],
  workers: [],
  allowOtherWorkers: false,
  retries: 0,
  priority: 0,
  timeoutMs: null,
};

/** Builds {@link TaskOptions} with the wire's key order. */
export function taskOptions(options: Partial<TaskOptions>): TaskOptions {
  return {
    resources: options.resources ?? DEFAULT_TASK_OPTIONS.resources,
    workers: options.workers ?? DEFAULT_TASK_OPTIONS.workers,
    allowOtherWorkers: options.allowOtherWorkers ?? DEFAULT_TASK_OPTIONS.allowOtherWorkers,
    retries: options.retries ?? DEFAULT_TASK_OPTIONS.retries,
    priority: options.priority ?? DEFAULT_TASK_OPTIONS.priority,
    timeoutMs: options.timeoutMs ?? DEFAULT_TASK_OPTIONS.timeoutMs,
  };
}

// --- Client → scheduler -------------------------------------------------------------------------

/** Makes a function or command known under its content hash, before the first submit naming it. */
export interface DefineFunction {
  readonly op: 'define-function';
  readonly hash: string;
  /** Its name for humans; also the prefix that durations are estimated by. */
  readonly name: string;
  /** An encoded `FunctionSpec`, opaque to the scheduler. */
  readonly spec: Uint8Array;
}

/** Builds a {@link DefineFunction}. */
export function defineFunction(hash: string, name: string, spec: Uint8Array): DefineFunction {
  return { op: 'define-function', hash, name, spec };
}

/**
 * A block: `count` tasks that share function and options. One `submit` is a block of one, a `map`
 * is one or several blocks.
 */
export interface Submit {
  readonly op: 'submit';
  /** Client's id of the first task's future; the others follow. */
  readonly first: number;
  readonly count: number;
  /** With `indexFrom` null the key of the only task; else task i is `${key}-${indexFrom + i}`. */
  readonly key: string;
  readonly indexFrom: number | null;
  /** Hash of a defined function. */
  readonly fn: string;
  /** Encoded argument lists, one after the other. */
  readonly args: Uint8Array;
  readonly argEndsColumn: Uint8Array;
  /** Client's ids of the futures inside the arguments, in reference order; null for none. */
  readonly depsColumn: Uint8Array | null;
  readonly depEndsColumn: Uint8Array | null;
  readonly options: TaskOptions;
}

/** Builds a {@link Submit}. */
export function submit(fields: Omit<Submit, 'op'>): Submit {
  return {
    op: 'submit',
    first: fields.first,
    count: fields.count,
    key: fields.key,
    indexFrom: fields.indexFrom,
    fn: fields.fn,
    args: fields.args,
    argEndsColumn: fields.argEndsColumn,
    depsColumn: fields.depsColumn,
    depEndsColumn: fields.depEndsColumn,
    options: fields.options,
  };
}

/** The client no longer wants these futures. `ranges` is `[first, count, first, count, …]`. */
export interface Release {
  readonly op: 'release';
  readonly ranges: readonly number[];
}

/** Builds a {@link Release}. */
export function release(ranges: readonly number[]): Release {
  return { op: 'release', ranges };
}

/** Stop these tasks, running ones too, unless another client wants them. */
export interface Cancel {
  readonly op: 'cancel';
  /** `[first, count, …]`, as in {@link Release}. */
  readonly ranges: readonly number[];
  readonly reason: string;
}

/** Builds a {@link Cancel}. */
export function cancel(ranges: readonly number[], reason: string): Cancel {
  return { op: 'cancel', ranges, reason };
}

/** Run failed tasks again, their failed dependencies included. */
export interface Retry {
  readonly op: 'retry';
  readonly ids: readonly number[];
}

/** Builds a {@link Retry}. */
export function retry(ids: readonly number[]): Retry {
  return { op: 'retry', ids };
}

/** Asks for bytes `offset … offset + length` of a result. Answered by a bulk frame. */
export interface GetResult {
  readonly op: 'get-result';
  readonly request: number;
  readonly id: number;
  readonly offset: number;
  readonly length: number;
}

/** Builds a {@link GetResult}. */
export function getResult(request: number, id: number, offset: number, length: number): GetResult {
  return { op: 'get-result', request, id, offset, length };
}

/** Questions of a client, and what their parameters and answers are. */
export interface Questions {
  /** Identity, workers and task counts. */
  'scheduler-info': { readonly params: null; readonly answer: SchedulerInfo };
  /** Answered once at least `count` workers are connected. */
  'wait-for-workers': { readonly params: { readonly count: number }; readonly answer: number };
  /** Why a task is where it is, and per worker why it does not run there. */
  explain: { readonly params: { readonly key: string }; readonly answer: Explanation };
  /** What happened to a key, oldest first. */
  story: { readonly params: { readonly key: string }; readonly answer: readonly StoryEntry[] };
}

/** A question; answered by a {@link Reply} with the same `request`. */
export type Ask = {
  [M in keyof Questions]: {
    readonly op: 'ask';
    readonly request: number;
    readonly method: M;
    readonly params: Questions[M]['params'];
  };
}[keyof Questions];

/** Builds an {@link Ask}. */
export function ask<M extends keyof Questions>(
  request: number,
  method: M,
  params: Questions[M]['params'],
): Ask {
  // SAFE: method and params are tied by M; TypeScript cannot see that through the mapped union.
  return { op: 'ask', request, method, params } as Ask;
}

/** Says the client is alive. */
export interface ClientHeartbeat {
  readonly op: 'client-heartbeat';
}

/** Builds a {@link ClientHeartbeat}. */
export function clientHeartbeat(): ClientHeartbeat {
  return { op: 'client-heartbeat' };
}

/** The client leaves for good; its futures are released. */
export interface CloseClient {
  readonly op: 'close-client';
}

/** Builds a {@link CloseClient}. */
export function closeClient(): CloseClient {
  return { op: 'close-client' };
}

/** End the whole cluster: workers, then the scheduler. */
export interface Shutdown {
  readonly op: 'shutdown';
  readonly reason: string;
}

/** Builds a {@link Shutdown}. */
export function shutdown(reason: string): Shutdown {
  return { op: 'shutdown', reason };
}

/** Everything a client may say after the handshake. */
export type ClientMessage =
  | DefineFunction
  | Submit
  | Release
  | Cancel
  | Retry
  | GetResult
  | Ask
  | ClientHeartbeat
  | CloseClient
  | Shutdown;

// --- Scheduler → client -------------------------------------------------------------------------

/** The scheduler holds this block now. */
export interface Accepted {
  readonly op: 'accepted';
  readonly first: number;
  readonly count: number;
}

/** Builds an {@link Accepted}. */
export function accepted(first: number, count: number): Accepted {
  return { op: 'accepted', first, count };
}

/** Tasks whose results are in memory. */
export interface Results {
  readonly op: 'results';
  readonly ids: readonly number[];
  /** Bytes of each encoded result. */
  readonly sizes: readonly number[];
  /** The small ones, back to back; an empty slice means: ask with {@link GetResult}. */
  readonly values: Uint8Array;
  readonly ends: readonly number[];
  /** How long each ran, microseconds. */
  readonly durationsUs: readonly number[];
  /** Index into `workers` of where each ran. */
  readonly ranOn: readonly number[];
  readonly workers: readonly string[];
}

/** Builds a {@link Results}. */
export function results(fields: Omit<Results, 'op'>): Results {
  return {
    op: 'results',
    ids: fields.ids,
    sizes: fields.sizes,
    values: fields.values,
    ends: fields.ends,
    durationsUs: fields.durationsUs,
    ranOn: fields.ranOn,
    workers: fields.workers,
  };
}

/** Tasks that failed, all for one reason. */
export interface Failed {
  readonly op: 'failed';
  readonly ids: readonly number[];
  readonly failure: Failure;
}

/** Builds a {@link Failed}. */
export function failed(ids: readonly number[], why: Failure): Failed {
  return { op: 'failed', ids, failure: why };
}

/** Tasks that were cancelled, by whichever client. */
export interface Cancelled {
  readonly op: 'cancelled';
  readonly ids: readonly number[];
  readonly reason: string;
}

/** Builds a {@link Cancelled}. */
export function cancelled(ids: readonly number[], reason: string): Cancelled {
  return { op: 'cancelled', ids, reason };
}

/** Finished results that are gone and are being computed again. */
export interface Recomputing {
  readonly op: 'recomputing';
  readonly ids: readonly number[];
}

/** Builds a {@link Recomputing}. */
export function recomputing(ids: readonly number[]): Recomputing {
  return { op: 'recomputing', ids };
}

/** The answer to an {@link Ask}: `error` is null, or `answer` is. */
export interface Reply {
  readonly op: 'reply';
  readonly request: number;
  readonly answer: unknown;
  readonly error: Failure | null;
}

/** Builds a {@link Reply}. */
export function reply(request: number, answer: unknown, error: Failure | null): Reply {
  return { op: 'reply', request, answer, error };
}

/** A request for bytes that cannot be served (yet). Used by scheduler, workers and peers. */
export interface DataFailed {
  readonly op: 'data-failed';
  readonly request: number;
  readonly failure: Failure;
}

/** Builds a {@link DataFailed}. */
export function dataFailed(request: number, why: Failure): DataFailed {
  return { op: 'data-failed', request, failure: why };
}

/** The scheduler ends this connection on purpose; do not reconnect. */
export interface Goodbye {
  readonly op: 'goodbye';
  readonly reason: string;
}

/** Builds a {@link Goodbye}. */
export function goodbye(reason: string): Goodbye {
  return { op: 'goodbye', reason };
}

/** Everything the scheduler may say to a client. */
export type ClientBoundMessage =
  | Accepted
  | Results
  | Failed
  | Cancelled
  | Recomputing
  | Reply
  | DataFailed
  | Goodbye;

// --- Scheduler → worker -------------------------------------------------------------------------

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
  readonly timeoutMs: number | null;
  /** Number of this attempt, from 1, of each task; null where all are first attempts. */
  readonly attempts: readonly number[] | null;
  /** Expected duration of one task, microseconds; null while unknown. Sizes batches to a slot. */
  readonly expectedUs: number | null;
}

/** Builds a {@link Run}. */
export function run(fields: Omit<Run, 'op'>): Run {
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

/** Everything the scheduler may say to a worker. `data-failed` answers a relayed get-data. */
export type WorkerBoundMessage =
  | DefineWorkerFunction
  | ForgetFunctions
  | Run
  | Free
  | Stop
  | GetData
  | DataFailed
  | CloseWorker;

// --- Worker → scheduler -------------------------------------------------------------------------

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
  };
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

/** Everything a worker may say to the scheduler. */
export type WorkerMessage =
  | Finished
  | RunFailed
  | Stopped
  | Holding
  | InputMissing
  | GetRelayed
  | DataFailed
  | WorkerHeartbeat
  | Leaving;

/** Everything peers say to each other; data flows back in bulk frames. */
export type PeerMessage = GetData | DataFailed;

/** Every control message. */
export type Message =
  | ClientMessage
  | ClientBoundMessage
  | WorkerBoundMessage
  | WorkerMessage
  | PeerMessage;

// --- Answers ------------------------------------------------------------------------------------

/** One worker as {@link SchedulerInfo} shows it. */
export interface WorkerInfo {
  readonly name: string;
  readonly address: string | null;
  readonly host: string;
  readonly pid: number;
  readonly nthreads: number;
  readonly resources: ResourceAmounts;
  readonly memoryLimitBytes: number | null;
  readonly localDirectory: string;
  readonly nanny: boolean;
  /** Runs assigned and not ended. */
  readonly processing: number;
  readonly metrics: WorkerMetrics | null;
  /** Milliseconds since the worker was last heard. */
  readonly silentMs: number;
}

/** Names of the states a task can be in. */
export type TaskStateName =
  | 'released'
  | 'waiting'
  | 'queued'
  | 'no-worker'
  | 'processing'
  | 'memory'
  | 'erred'
  | 'forgotten';

/** What `client.schedulerInfo()` answers. */
export interface SchedulerInfo {
  readonly type: 'Scheduler';
  readonly id: string;
  readonly address: string;
  /** Scheduler clock at its start, milliseconds since the epoch. */
  readonly startedMs: number;
  readonly workers: readonly WorkerInfo[];
  readonly clients: number;
  /** Number of tasks in each state. */
  readonly tasks: Readonly<Record<TaskStateName, number>>;
}

/** What `client.explain(key)` answers. */
export interface Explanation {
  readonly key: string;
  /** Null where the scheduler does not know the key. */
  readonly state: TaskStateName | null;
  /** One sentence: where the task is and what it waits for. */
  readonly summary: string;
  /** Keys of unfinished dependencies (at most 20). */
  readonly waitingFor: readonly string[];
  /** Per worker: why the task does not run there. */
  readonly workers: readonly { readonly worker: string; readonly reason: string }[];
}

/** One line of a key's story. */
export interface StoryEntry {
  readonly key: string;
  readonly from: TaskStateName;
  readonly to: TaskStateName;
  /** What caused it, for example `submit` or `worker w-1 lost: connection closed`. */
  readonly cause: string;
  readonly run: number | null;
  readonly worker: string | null;
  /** Scheduler clock, milliseconds since the epoch. */
  readonly atMs: number;
}

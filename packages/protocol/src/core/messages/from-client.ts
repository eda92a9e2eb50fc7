/** What a client says to the scheduler. */
import type { Explanation, GroupInfo, SchedulerInfo, SpanInfo, StoryEntry } from './answers.ts';
import type {
  AdaptiveTarget,
  HasWhat,
  RebalanceParams,
  ReplicateParams,
  Replicated,
  RetireParams,
  Retired,
  WhoHas,
} from './data-questions.ts';
import type { CoordinationQuestions } from './coordination.ts';
import type { WorkerPluginParams } from './plugins.ts';
import type { TaskOptions } from './records.ts';

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
  /** Key of the task that submits them; null where none does. */
  readonly parent: string | null;
}

/** Builds a {@link Submit}. Without `parent`, no task submits it. */
export function submit(
  fields: Omit<Submit, 'op' | 'parent'> & { readonly parent?: string | null },
): Submit {
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
    parent: fields.parent ?? null,
  };
}

/**
 * Values for the memory of workers: a block of tasks that have a result and no lineage. Their
 * futures resolve once a worker holds them.
 */
export interface Scatter {
  readonly op: 'scatter';
  /** As in {@link Submit}. */
  readonly first: number;
  readonly count: number;
  readonly key: string;
  readonly indexFrom: number | null;
  /** Encoded values, one after the other, none of them empty. */
  readonly values: Uint8Array;
  readonly endsColumn: Uint8Array;
  /** Worker names, addresses or hosts they may go to; empty means any. */
  readonly workers: readonly string[];
  /** Copies of each, from 1; 0 means one on every worker. */
  readonly copies: number;
  /** How long to wait for a worker that can take them. */
  readonly timeoutMs: number;
}

/** Builds a {@link Scatter}. */
export function scatter(fields: Omit<Scatter, 'op'>): Scatter {
  return {
    op: 'scatter',
    first: fields.first,
    count: fields.count,
    key: fields.key,
    indexFrom: fields.indexFrom,
    values: fields.values,
    endsColumn: fields.endsColumn,
    workers: fields.workers,
    copies: fields.copies,
    timeoutMs: fields.timeoutMs,
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

/** Which plugin a client wants the scheduler to load. */
export interface PluginParams {
  /** A plugin is loaded once under a name. */
  readonly name: string;
  /** A `file:` URL or the name of a package, as the scheduler's host finds it. */
  readonly module: string;
  /** For the module's factory. */
  readonly args: readonly string[];
}

/** Questions of a client, and what their parameters and answers are. */
export interface Questions extends CoordinationQuestions {
  /** Identity, workers and task counts. */
  'scheduler-info': { readonly params: null; readonly answer: SchedulerInfo };
  /** Answered once at least `count` workers are connected. */
  'wait-for-workers': { readonly params: { readonly count: number }; readonly answer: number };
  /** How far the spans at and below a path are; the empty path is above all. */
  spans: {
    readonly params: { readonly path: readonly string[] };
    readonly answer: readonly SpanInfo[];
  };
  /** How far each group of tasks is; `keys` empty means all. */
  groups: {
    readonly params: { readonly keys: readonly string[] };
    readonly answer: readonly GroupInfo[];
  };
  /** Loads a plugin into the scheduler. Answered by whether it was not there before. */
  'register-plugin': { readonly params: PluginParams; readonly answer: boolean };
  /** Closes a plugin of the scheduler. Answered by whether there was one of that name. */
  'unregister-plugin': { readonly params: { readonly name: string }; readonly answer: boolean };
  /**
   * Gives all workers a plugin, those that join later too. Answered once it is set up on those that
   * are there, by whether it was not there before.
   */
  'register-worker-plugin': { readonly params: WorkerPluginParams; readonly answer: boolean };
  /** Takes a plugin from all workers. Answered once it is torn down, by whether there was one. */
  'unregister-worker-plugin': {
    readonly params: { readonly name: string };
    readonly answer: boolean;
  };
  /** Why a task is where it is, and per worker why it does not run there. */
  explain: { readonly params: { readonly key: string }; readonly answer: Explanation };
  /** What happened to a key, oldest first. */
  story: { readonly params: { readonly key: string }; readonly answer: readonly StoryEntry[] };
  /** Lets workers finish and hand on what only they hold, then ends them. */
  'retire-workers': { readonly params: RetireParams; readonly answer: Retired };
  /** Copies results to more workers, or drops copies above `n`. */
  replicate: { readonly params: ReplicateParams; readonly answer: Replicated };
  /** Moves results from the fullest workers to the emptiest. */
  rebalance: { readonly params: RebalanceParams; readonly answer: Replicated };
  /** Which workers hold each future's result. */
  'who-has': { readonly params: { readonly ids: readonly number[] }; readonly answer: WhoHas };
  /** Keys that each worker holds; `workers` empty means all. */
  'has-what': {
    readonly params: { readonly workers: readonly string[] };
    readonly answer: HasWhat;
  };
  /** How many workers the work at hand asks for, or asked for within `coolDownMs`. */
  'adaptive-target': {
    readonly params: { readonly targetDurationMs: number; readonly coolDownMs: number };
    readonly answer: AdaptiveTarget;
  };
  /** Which workers are best closed: idle ones first, then those with the fewest bytes. */
  'workers-to-close': {
    readonly params: { readonly count: number };
    readonly answer: readonly string[];
  };
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
  | Scatter
  | Release
  | Cancel
  | Retry
  | GetResult
  | Ask
  | ClientHeartbeat
  | CloseClient
  | Shutdown;

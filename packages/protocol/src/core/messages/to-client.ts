/** What the scheduler says to a client. */
import type { TopicEvent } from './coordination.ts';
import type { Failure } from './records.ts';

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
  | Goodbye
  | TopicEvent;

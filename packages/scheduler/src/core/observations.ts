/** What plugins are told: plain records of what happened, made only while some plugin wants them. */
import type { ResourceAmounts, TaskStateName } from '@farm/protocol/core';

import { nameAt } from './naming.ts';
import type { Naming } from './naming.ts';
import type { ClientState } from './state.ts';
import type { Tables } from './tables.ts';

/** What observations are made of: nothing, all but transitions (which are many), or all. */
export type Observing = 'nothing' | 'events' | 'all';

/** A worker, as plugins are told of it. */
export interface ObservedWorker {
  readonly name: string;
  readonly host: string;
  /** Where it serves results to other workers; null where it does not. */
  readonly address: string | null;
  readonly nthreads: number;
  readonly resources: ResourceAmounts;
}

/** A worker that is gone. */
export interface ObservedDeparture {
  readonly name: string;
  readonly reason: string;
}

/** A client, as plugins are told of it. */
export interface ObservedClient {
  /** Unique to this connection. */
  readonly id: string;
  readonly name: string;
}

/** A task changed its state. */
export interface ObservedTransition {
  readonly key: string;
  readonly from: TaskStateName;
  readonly to: TaskStateName;
  /** What caused it, as in the task's story. */
  readonly cause: string;
  readonly run: number | null;
  /** Name of the worker concerned. */
  readonly worker: string | null;
  /** Scheduler clock, milliseconds since the epoch. */
  readonly atMs: number;
}

/** A block of tasks was submitted. */
export interface ObservedSubmit {
  readonly client: ObservedClient;
  /** Name of the function. */
  readonly fn: string;
  /** With `indexFrom` null the key of the only task; else task i is `${key}-${indexFrom + i}`. */
  readonly key: string;
  readonly indexFrom: number | null;
  readonly count: number;
}

/** Something happened. */
export type Observation =
  | { readonly kind: 'addWorker'; readonly about: ObservedWorker }
  | { readonly kind: 'removeWorker'; readonly about: ObservedDeparture }
  | { readonly kind: 'addClient'; readonly about: ObservedClient }
  | { readonly kind: 'removeClient'; readonly about: ObservedClient }
  | { readonly kind: 'submit'; readonly about: ObservedSubmit }
  | { readonly kind: 'transition'; readonly about: ObservedTransition };

/** A client as plugins are told of it. */
export function observedClient({ session, hello }: ClientState): ObservedClient {
  return { id: session, name: hello.name };
}

/** Which observations are made from now on. */
export function setObserving(tables: Tables, observing: Observing): void {
  tables.isObserved = observing !== 'nothing';
  tables.story.observer = observing === 'all' ? observeTransitions.bind(null, tables) : null;
}

/** Tells the plugins; the caller has looked at `isObserved` before it made the record. */
export function observe(tables: Tables, observation: Observation): void {
  tables.outbox.instruct({ do: 'observe', observation });
}

function observeTransitions(
  tables: Tables,
  naming: Naming,
  index: number,
  end: number,
  from: TaskStateName,
  to: TaskStateName,
  cause: string,
  run: number | null,
  worker: string | null,
  atMs: number,
): void {
  for (let at = index; at < end; at++) {
    const about = { key: nameAt(naming, at), from, to, cause, run, worker, atMs };
    observe(tables, { kind: 'transition', about });
  }
}

/**
 * Everything the scheduler's core can be told. Events are facts; time and identities come with
 * them. Read this file and `instructions.ts` to know the core's interface.
 */
import type {
  ClientHello,
  ClientMessage,
  Failure,
  WorkerHello,
  WorkerMessage,
} from '@farm/protocol/core';

import type { Observing } from './observations.ts';

/** A client finished its handshake. `client` is this session's name, chosen by the shell. */
export interface ClientConnected {
  readonly kind: 'client-connected';
  readonly nowMs: number;
  readonly client: string;
  readonly hello: ClientHello;
}

/** A client said something. */
export interface ClientSaid {
  readonly kind: 'client-said';
  readonly nowMs: number;
  readonly client: string;
  readonly message: ClientMessage;
}

/** A client's connection lost its socket and may come back; what is said to it meanwhile waits. */
export interface ClientAway {
  readonly kind: 'client-away';
  readonly nowMs: number;
  readonly client: string;
  readonly reason: string;
}

/** It came back: all that was said in either direction has arrived, or will. */
export interface ClientBack {
  readonly kind: 'client-back';
  readonly nowMs: number;
  readonly client: string;
}

/** A client's connection ended. */
export interface ClientLost {
  readonly kind: 'client-lost';
  readonly nowMs: number;
  readonly client: string;
  readonly reason: string;
}

/** A worker finished its handshake. `worker` is this session's name, chosen by the shell. */
export interface WorkerConnected {
  readonly kind: 'worker-connected';
  readonly nowMs: number;
  readonly worker: string;
  readonly hello: WorkerHello;
}

/** A worker said something. */
export interface WorkerSaid {
  readonly kind: 'worker-said';
  readonly nowMs: number;
  readonly worker: string;
  readonly message: WorkerMessage;
}

/**
 * A worker's connection lost its socket and may come back; what is said to it meanwhile waits. Where
 * its process is known to have ended, `worker-lost` follows.
 */
export interface WorkerAway {
  readonly kind: 'worker-away';
  readonly nowMs: number;
  readonly worker: string;
  readonly reason: string;
}

/** It came back: all that was said in either direction has arrived, or will. */
export interface WorkerBack {
  readonly kind: 'worker-back';
  readonly nowMs: number;
  readonly worker: string;
}

/** A worker's connection ended. */
export interface WorkerLost {
  readonly kind: 'worker-lost';
  readonly nowMs: number;
  readonly worker: string;
  readonly reason: string;
}

/** Time passed: sent when a `wake-at` is due, and at least every 500 ms while anything waits. */
export interface Tick {
  readonly kind: 'tick';
  readonly nowMs: number;
}

/** A plugin that a client asked for was loaded, or closed, or not. */
export interface PluginLoaded {
  readonly kind: 'plugin-loaded';
  readonly nowMs: number;
  readonly client: string;
  readonly request: number;
  /** Whether that changed which plugins there are. */
  readonly isNew: boolean;
  readonly failure: Failure | null;
  /** What plugins are told of from now on. */
  readonly observe: Observing;
}

/** A signal or flag asks the scheduler to end. */
export interface ShutdownAsked {
  readonly kind: 'shutdown-asked';
  readonly nowMs: number;
  readonly reason: string;
}

/** What happened. */
export type SchedulerEvent =
  | ClientConnected
  | ClientSaid
  | ClientAway
  | ClientBack
  | ClientLost
  | WorkerConnected
  | WorkerSaid
  | WorkerAway
  | WorkerBack
  | WorkerLost
  | Tick
  | PluginLoaded
  | ShutdownAsked;

/** Everything the scheduler's core can ask its shell to do. Instructions are performed in order. */
import type {
  ClientBoundMessage,
  Failure,
  PluginParams,
  WorkerBoundMessage,
} from '@farm/protocol/core';

import type { Observation } from './observations.ts';

/** Send a message to a client. Messages to a client that is gone are dropped. */
export interface ToClient {
  readonly do: 'to-client';
  readonly client: string;
  readonly message: ClientBoundMessage;
}

/** Send a message to a worker. */
export interface ToWorker {
  readonly do: 'to-worker';
  readonly worker: string;
  readonly message: WorkerBoundMessage;
}

/** Who asked for bytes: a client or a worker, and its request number. */
export interface Asker {
  readonly role: 'client' | 'worker';
  readonly session: string;
  readonly request: number;
}

/** Answer a request for bytes with bytes the core holds. */
export interface SendData {
  readonly do: 'send-data';
  readonly asker: Asker;
  readonly totalBytes: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/**
 * Ask `worker` for bytes on behalf of `asker` and forward its answer undecoded. Where the worker
 * is gone or answers `data-failed`, the shell forwards a `data-failed` to the asker.
 */
export interface RelayData {
  readonly do: 'relay-data';
  readonly asker: Asker;
  readonly worker: string;
  readonly task: number;
  readonly offset: number;
  readonly length: number;
}

/** Answer a request for bytes with a failure. */
export interface RefuseData {
  readonly do: 'refuse-data';
  readonly asker: Asker;
  readonly failure: Failure;
}

/** Close a client's connection after what was sent to it. */
export interface DropClient {
  readonly do: 'drop-client';
  readonly client: string;
  readonly reason: string;
}

/** Close a worker's connection after what was sent to it. */
export interface DropWorker {
  readonly do: 'drop-worker';
  readonly worker: string;
  readonly reason: string;
}

/** Send a tick at this time (scheduler clock), or earlier. The last one asked for counts. */
export interface WakeAt {
  readonly do: 'wake-at';
  readonly atMs: number;
}

/** Tell the plugins what happened. Only where they want it, see `observe` of the configuration. */
export interface Observe {
  readonly do: 'observe';
  readonly observation: Observation;
}

/** Load a plugin and say so with a `plugin-loaded`. */
export interface LoadPlugin {
  readonly do: 'load-plugin';
  readonly client: string;
  readonly request: number;
  readonly plugin: PluginParams;
}

/** Close a plugin and say so with a `plugin-loaded`. */
export interface UnloadPlugin {
  readonly do: 'unload-plugin';
  readonly client: string;
  readonly request: number;
  readonly name: string;
}

/** Write a line to the log. */
export interface Log {
  readonly do: 'log';
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
}

/** Everything is told to end: close all connections and exit. */
export interface Exit {
  readonly do: 'exit';
  readonly reason: string;
}

/** What to do. */
export type SchedulerInstruction =
  | ToClient
  | ToWorker
  | SendData
  | RelayData
  | RefuseData
  | DropClient
  | DropWorker
  | WakeAt
  | Observe
  | LoadPlugin
  | UnloadPlugin
  | Log
  | Exit;

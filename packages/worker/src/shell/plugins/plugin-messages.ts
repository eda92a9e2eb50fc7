/** What a plugin's thread and its worker, or nanny, say to each other. */
import type { ResourceAmounts } from '@farm/protocol';

import type { PackedFailure } from '../executors/threads/thread-messages.ts';
import type { EnvironmentChanges, RunState } from './worker-plugin.ts';

/** What a plugin's thread is told of the worker at its start. */
export interface PluginSurroundings {
  readonly name: string;
  readonly address: string | null;
  readonly localDirectory: string;
  readonly nthreads: number;
  readonly resources: ResourceAmounts;
}

/** What a plugin's thread starts with. */
export interface PluginThreadData {
  /** What the plugin is called. */
  readonly plugin: string;
  /** An encoded `PluginSpec`. */
  readonly spec: Uint8Array;
  readonly worker: PluginSurroundings;
}

/** A run of a task moved on. */
export type Transition = readonly [key: string, from: RunState, to: RunState];

/** To the thread. */
export type PluginBoundMessage =
  | { readonly do: 'setup' }
  | { readonly do: 'teardown' }
  | { readonly do: 'transitions'; readonly transitions: readonly Transition[] }
  | { readonly do: 'address'; readonly address: string | null }
  | { readonly do: 'environment-set'; readonly request: number };

/** From the thread. */
export type PluginSaid =
  | {
      readonly say: 'setup-ended';
      readonly failure: PackedFailure | null;
      readonly wantsTransitions: boolean;
    }
  | { readonly say: 'torn-down'; readonly failure: PackedFailure | null }
  | { readonly say: 'threw'; readonly where: string; readonly text: string }
  | {
      readonly say: 'log';
      readonly level: 'info' | 'warn' | 'error';
      readonly message: string;
    }
  | {
      readonly say: 'environment';
      readonly request: number;
      readonly changes: EnvironmentChanges;
    }
  /** So many transitions were seen to. */
  | { readonly say: 'transitions-seen'; readonly count: number };

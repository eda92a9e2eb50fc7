/**
 * Plugins that clients give to all workers. Workers that are there set them up while they go on with
 * their tasks; a worker that joins gets no task before it has set up all of them, and none as long
 * as one of them cannot be set up. A plugin that could not be set up on some worker when it was
 * registered is taken back from all.
 */
import { setPlugin } from '@farm/protocol/core';
import type { Failure, PluginKind } from '@farm/protocol/core';

import type { WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** Why a worker that waits for its plugins gets no tasks: at most so many characters of it. */
const REASON_LENGTH_MAX = 2_000;

/** A plugin that all workers are to have. */
export interface WorkerPlugin {
  readonly name: string;
  readonly kind: PluginKind;
  readonly spec: Uint8Array;
}

/** Workers were told to set up or tear down a plugin, and clients wait for it. */
export interface PluginRound {
  readonly plugin: WorkerPlugin;
  readonly isNew: boolean;
  readonly isRemoval: boolean;
  readonly askers: { readonly session: string; readonly request: number }[];
  /** Workers that have not answered. */
  readonly awaited: Set<WorkerState>;
  readonly failures: Failure[];
}

/** What a worker was told and has not answered. */
export interface PluginRequest {
  readonly plugin: WorkerPlugin;
  readonly isRemoval: boolean;
  readonly round: PluginRound | null;
}

/** What a worker has to do with plugins. */
export class PluginDuties {
  readonly requests: Map<number, PluginRequest> = new Map();
  /** Plugins it gets no tasks without, and why they could not be set up; null while they are. */
  readonly missing: Map<string, Failure | null> = new Map();
}

/** The plugins of all workers. */
export class WorkerPlugins {
  readonly byName: Map<string, WorkerPlugin> = new Map();
  readonly rounds: Map<string, PluginRound> = new Map();
  totalBytes = 0;
  nextRequest = 1;
}

/** A worker joins: it sets up all plugins before it gets tasks. */
export function preparePlugins(tables: Tables, worker: WorkerState): void {
  for (const plugin of tables.plugins.byName.values()) {
    worker.plugins.missing.set(plugin.name, null);
    tell(tables, worker, plugin, { isRemoval: false, round: null });
  }
}

/** A worker is gone: nobody waits for its answers. */
export function forgetPluginsOf({ plugins }: Tables, worker: WorkerState): void {
  worker.plugins.requests.clear();
  for (const round of plugins.rounds.values()) round.awaited.delete(worker);
}

/** Why a worker gets no tasks for want of a plugin; null where that is not so. */
export function whyUnprepared(worker: WorkerState): string | null {
  for (const [name, why] of worker.plugins.missing) {
    if (why !== null) {
      return `its plugin ${name} could not be set up: ${why.message.slice(0, REASON_LENGTH_MAX)}`;
    }
  }
  const names = [...worker.plugins.missing.keys()];
  return names.length === 0 ? null : `it is setting up its plugins: ${names.join(', ')}`;
}

/** Tells a worker to set up a plugin, or to tear it down. */
export function tell(
  tables: Tables,
  worker: WorkerState,
  plugin: WorkerPlugin,
  { isRemoval, round }: { readonly isRemoval: boolean; readonly round: PluginRound | null },
): void {
  const request = tables.plugins.nextRequest++;
  const { name, kind, spec } = plugin;
  worker.plugins.requests.set(request, { plugin, isRemoval, round });
  round?.awaited.add(worker);
  tables.outbox.toWorker(worker, setPlugin(request, name, kind, isRemoval ? null : spec));
}

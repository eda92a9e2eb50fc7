/** Plugins of workers and nannies: what a client asks for, and how it comes to the workers. */
import type { Failure } from './records.ts';

/** Whose plugin it is: a worker's, or that of the nanny above it. */
export type PluginKind = 'worker' | 'nanny';

/** Which plugin a client wants all workers to have, those that join later too. */
export interface WorkerPluginParams {
  /** There is one plugin of a name; another one of that name takes its place. */
  readonly name: string;
  readonly kind: PluginKind;
  /** An encoded `PluginSpec`; nobody but the worker looks at it. */
  readonly spec: Uint8Array;
}

/** Tells a worker to set up a plugin, or to tear it down. Answered by {@link PluginSet}. */
export interface SetPlugin {
  readonly op: 'set-plugin';
  readonly request: number;
  readonly name: string;
  readonly kind: PluginKind;
  /** Null to tear it down. */
  readonly spec: Uint8Array | null;
}

/** Builds a {@link SetPlugin}. */
export function setPlugin(
  request: number,
  name: string,
  kind: PluginKind,
  spec: Uint8Array | null,
): SetPlugin {
  return { op: 'set-plugin', request, name, kind, spec };
}

/** Answer to {@link SetPlugin}: it is done, or `failure` says why not. */
export interface PluginSet {
  readonly op: 'plugin-set';
  readonly request: number;
  readonly failure: Failure | null;
}

/** Builds a {@link PluginSet}. */
export function pluginSet(request: number, why: Failure | null): PluginSet {
  return { op: 'plugin-set', request, failure: why };
}

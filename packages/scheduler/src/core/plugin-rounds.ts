/** Clients give plugins to all workers, or take them back. */
import { failure, LIMITS, reply } from '@farm/protocol/core';
import type { Failure, PluginSet, WorkerPluginParams } from '@farm/protocol/core';

import { matchFreeWorker } from './membership.ts';
import type { ClientState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { tell } from './worker-plugins.ts';
import type { PluginRound, WorkerPlugin } from './worker-plugins.ts';
import { acceptRuns, canTakeRuns } from './workload.ts';

/** A client wants all workers to have a plugin. */
export function takeRegisterPlugin(
  tables: Tables,
  client: ClientState,
  request: number,
  { name, kind, spec }: WorkerPluginParams,
): void {
  const { plugins } = tables;
  const known = plugins.byName.get(name);
  if (known !== undefined && known.kind === kind && sameBytes(known.spec, spec)) {
    const round = plugins.rounds.get(name);
    if (round === undefined) tables.outbox.toClient(client, reply(request, false, null));
    else round.askers.push({ session: client.session, request });
    return;
  }
  const totalBytes = plugins.totalBytes - (known?.spec.byteLength ?? 0) + spec.byteLength;
  const refusal = whyTooLarge(name, spec.byteLength, totalBytes);
  if (refusal !== null) {
    tables.outbox.toClient(client, reply(request, null, refusal));
    return;
  }
  supersede(tables, name, `another plugin took the place of ${name}`);
  // Under the old kind nobody would look for it.
  if (known !== undefined && known.kind !== kind) remove(tables, known, null);
  const plugin: WorkerPlugin = { name, kind, spec };
  plugins.byName.set(name, plugin);
  plugins.totalBytes = totalBytes;
  const round = begin(tables, plugin, { isRemoval: false, isNew: known === undefined });
  round.askers.push({ session: client.session, request });
  for (const worker of tables.workers.values()) {
    if (worker.hasSaidLeaving) continue;
    if (worker.plugins.missing.has(name)) worker.plugins.missing.set(name, null);
    tell(tables, worker, plugin, { isRemoval: false, round });
  }
}

/** A client wants no worker to have a plugin any more. */
export function takeUnregisterPlugin(
  tables: Tables,
  client: ClientState,
  request: number,
  name: string,
): void {
  const { plugins, outbox } = tables;
  const plugin = plugins.byName.get(name);
  if (plugin === undefined) {
    const round = plugins.rounds.get(name);
    if (round === undefined) outbox.toClient(client, reply(request, false, null));
    else round.askers.push({ session: client.session, request });
    return;
  }
  supersede(tables, name, `plugin ${name} was unregistered`);
  forget(tables, plugin);
  const round = begin(tables, plugin, { isRemoval: true, isNew: true });
  round.askers.push({ session: client.session, request });
  remove(tables, plugin, round);
}

/** A worker has set up a plugin or torn it down, or cannot. */
export function takePluginSet(
  tables: Tables,
  worker: WorkerState,
  { request, failure: why }: PluginSet,
): void {
  const told = worker.plugins.requests.get(request);
  if (told === undefined) return;
  worker.plugins.requests.delete(request);
  const { plugin, isRemoval, round } = told;
  const { name } = plugin;
  if (why !== null) {
    const done = isRemoval ? 'torn down' : 'set up';
    const message = `plugin ${name} could not be ${done} on ${worker.name}: ${why.message}`;
    tables.outbox.instruct({ do: 'log', level: 'warn', message });
  }
  const isCurrent = tables.plugins.byName.get(name) === plugin;
  if (!isRemoval && isCurrent && worker.plugins.missing.has(name)) {
    if (why === null) meet(tables, worker, name);
    else worker.plugins.missing.set(name, why);
  }
  if (round?.awaited.delete(worker) !== true) return;
  if (why !== null) round.failures.push(why);
}

/** Rounds that all workers have answered end: the clients get their answers. */
export function settlePlugins(tables: Tables): void {
  if (tables.plugins.rounds.size === 0) return;
  for (const round of [...tables.plugins.rounds.values()]) {
    if (round.awaited.size === 0) conclude(tables, round);
  }
}

function begin(
  tables: Tables,
  plugin: WorkerPlugin,
  { isRemoval, isNew }: { readonly isRemoval: boolean; readonly isNew: boolean },
): PluginRound {
  const round = { plugin, isNew, isRemoval, askers: [], awaited: new Set<WorkerState>() };
  const begun: PluginRound = { ...round, failures: [] };
  tables.plugins.rounds.set(plugin.name, begun);
  return begun;
}

function conclude(tables: Tables, round: PluginRound): void {
  const { plugin, failures } = round;
  tables.plugins.rounds.delete(plugin.name);
  if (failures.length === 0 || round.isRemoval) {
    answer(tables, round, null);
    return;
  }
  forget(tables, plugin);
  remove(tables, plugin, null);
  const first = failures[0];
  const on = failures.map(({ worker, message }) => `${worker ?? 'a worker'}: ${message}`);
  const message = `plugin ${plugin.name} could not be set up and was taken back; ${on.join('; ')}`;
  const error = first?.error ?? null;
  const worker = first?.worker ?? null;
  answer(tables, round, failure('ERR_PLUGIN', message, '', worker, error, first?.name ?? null));
}

function answer(tables: Tables, round: PluginRound, why: Failure | null): void {
  for (const { session, request } of round.askers) {
    const client = tables.clients.get(session);
    if (client === undefined) continue;
    tables.outbox.toClient(client, reply(request, why === null ? round.isNew : null, why));
  }
}

/** Another round for that name begins: those who wait for this one are told so. */
function supersede(tables: Tables, name: string, reason: string): void {
  const round = tables.plugins.rounds.get(name);
  if (round === undefined) return;
  tables.plugins.rounds.delete(name);
  const why = round.isRemoval ? null : failure('ERR_PLUGIN', reason, '', null, null);
  answer(tables, round, why);
}

function forget({ plugins }: Tables, plugin: WorkerPlugin): void {
  plugins.byName.delete(plugin.name);
  plugins.totalBytes -= plugin.spec.byteLength;
}

/** Takes a plugin from all workers. */
function remove(tables: Tables, plugin: WorkerPlugin, round: PluginRound | null): void {
  for (const worker of tables.workers.values()) {
    if (!tables.plugins.byName.has(plugin.name)) meet(tables, worker, plugin.name);
    if (!worker.hasSaidLeaving) tell(tables, worker, plugin, { isRemoval: true, round });
  }
}

/** The worker is not without this plugin any more. With the last one it begins to take runs. */
function meet(tables: Tables, worker: WorkerState, name: string): void {
  if (!worker.plugins.missing.delete(name) || worker.plugins.missing.size > 0) return;
  tables.cause = `worker ${worker.name} has its plugins`;
  if (!canTakeRuns(worker)) return;
  matchFreeWorker(tables, worker);
  acceptRuns(tables, worker);
}

function whyTooLarge(name: string, bytes: number, totalBytes: number): Failure | null {
  const { pluginBytesMax, pluginsTotalBytesMax } = LIMITS;
  if (bytes <= pluginBytesMax && totalBytes <= pluginsTotalBytesMax) return null;
  const message =
    bytes > pluginBytesMax
      ? `plugin ${name} has ${bytes} bytes, more than ${pluginBytesMax}`
      : `with plugin ${name} all plugins have ${totalBytes} bytes, more than ${pluginsTotalBytesMax}`;
  return failure('ERR_LIMIT', message, '', null, null);
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, at) => byte === b[at]);
}

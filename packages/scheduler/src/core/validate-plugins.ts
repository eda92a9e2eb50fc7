/** What must hold of the plugins of workers. */
import { invariant } from '@farm/protocol/core';

import type { Tables } from './tables.ts';

/** @throws FarmError `ERR_INTERNAL` naming what does not hold. */
export function validatePlugins({ plugins, workers }: Tables): void {
  let bytes = 0;
  for (const [name, plugin] of plugins.byName) {
    invariant(plugin.name === name, `plugin ${plugin.name} is found as ${name}`);
    bytes += plugin.spec.byteLength;
  }
  invariant(bytes === plugins.totalBytes, `plugins have ${bytes} bytes`);
  for (const [name, { plugin, isRemoval, awaited, askers }] of plugins.rounds) {
    invariant(plugin.name === name, `the round of ${plugin.name} is found as ${name}`);
    invariant(askers.length > 0, `nobody asked for the round of plugin ${name}`);
    invariant(awaited.size > 0, `the round of plugin ${name} has no end`);
    const isKnown = plugins.byName.get(name) === plugin;
    invariant(isKnown !== isRemoval, `plugin ${name} is known: ${isKnown}`);
    for (const worker of awaited) {
      invariant(workers.get(worker.session) === worker, `plugin ${name} awaits ${worker.name}`);
      const told = [...worker.plugins.requests.values()].some(({ round }) => {
        return round?.plugin === plugin && round.isRemoval === isRemoval;
      });
      invariant(told, `${worker.name} was not told of plugin ${name}, which awaits it`);
    }
  }
  for (const { name, plugins: duties, hasSaidLeaving } of workers.values()) {
    for (const [missing, why] of duties.missing) {
      const plugin = plugins.byName.get(missing);
      invariant(plugin !== undefined, `${name} lacks ${missing}, which is no plugin`);
      const isUnderWay = [...duties.requests.values()].some((told) => told.plugin === plugin);
      invariant(
        why !== null || isUnderWay || hasSaidLeaving,
        `${name} lacks plugin ${missing} for ever`,
      );
    }
  }
}

import type { EnvironmentChanges, WorkerPlugin } from '../worker-plugin.ts';

/** Sets variables of the environment, and puts back what was there at the end. */
export function environment(changes: EnvironmentChanges): WorkerPlugin {
  let before: EnvironmentChanges = {};
  return {
    setup: async (worker) => {
      const names = Object.keys(changes);
      before = Object.fromEntries(names.map((name) => [name, process.env[name] ?? null]));
      await worker.setEnvironment(changes);
    },
    teardown: (worker) => worker.setEnvironment(before),
  };
}

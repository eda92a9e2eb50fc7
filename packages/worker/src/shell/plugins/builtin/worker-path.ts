import { resolve } from 'node:path';

import type { PluginWorker } from '../worker-plugin.ts';

/**
 * A path on a worker: `{worker}` stands for its name, `{directory}` for its own directory; where it
 * is relative it begins in the directory the worker was started in.
 */
export function workerPath(template: string, worker: PluginWorker): string {
  const filled = template
    .replaceAll('{worker}', () => worker.name.replaceAll(/[^\w.-]+/g, '_'))
    .replaceAll('{directory}', () => worker.localDirectory);
  return resolve(filled);
}

import { createRequire } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { FarmError } from '@farm/protocol';

/**
 * Finds the module of a plugin on this host.
 *
 * @param module - A path (relative to the working directory), a `file:` URL, or the name of an
 *   installed package.
 * @throws FarmError `ERR_ARGUMENT` where there is none.
 */
export function locatePlugin(module: string): string {
  if (module.startsWith('file:')) return module;
  if (isAbsolute(module) || module.startsWith('.')) return pathToFileURL(resolve(module)).href;
  try {
    const require = createRequire(join(process.cwd(), 'noop.js'));
    return pathToFileURL(require.resolve(module)).href;
  } catch (error) {
    const why = `--preload: there is no package ${module}; a file is written ./${module}`;
    throw new FarmError('ERR_ARGUMENT', why, { cause: error });
  }
}

import { registerHooks } from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Where the source of tasks pretends to be, see `task-functions.ts`. */
const SOURCE_NAME = '/farm-task';

/**
 * Has modules that are found nowhere else looked for in the worker's own directory: packages that a
 * plugin installed there, and, for the source of tasks and plugins, files that were uploaded.
 *
 * @param directory - the worker's own directory; undefined for none
 */
export function resolveLocally(directory: string | undefined): void {
  if (directory === undefined || directory === '') return;
  const parentURL = pathToFileURL(join(directory, 'farm-local')).href;
  registerHooks({
    resolve: (specifier, context, nextResolve) => {
      try {
        return nextResolve(specifier, context);
      } catch (error) {
        const isRelative = /^\.{0,2}\//.test(specifier);
        const isOfTask = context.parentURL?.endsWith(SOURCE_NAME) === true;
        if (!isMissing(error) || (isRelative && !isOfTask)) throw error;
        try {
          return nextResolve(specifier, { ...context, parentURL });
        } catch {
          // Where it was looked for first is what the user knows.
          throw error;
        }
      }
    },
  });
}

function isMissing(error: unknown): boolean {
  if (!(error instanceof Error) || !('code' in error)) return false;
  return error.code === 'ERR_MODULE_NOT_FOUND' || error.code === 'MODULE_NOT_FOUND';
}

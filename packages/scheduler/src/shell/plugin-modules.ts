/** Importing the modules of plugins. */
import { createRequire } from 'node:module';
import { isAbsolute, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

import { FarmError } from '@farm/protocol';

import type { SchedulerPlugin } from './plugins.ts';

const METHODS: readonly (keyof SchedulerPlugin)[] = [
  'start',
  'close',
  'addWorker',
  'removeWorker',
  'addClient',
  'removeClient',
  'transition',
  'submit',
];

type PluginFactory = (args: readonly string[]) => unknown;

/** A plugin and what it is called. */
export interface NamedPlugin {
  readonly name: string;
  readonly plugin: SchedulerPlugin;
}

/** How {@link importPlugins} reads the name of a module. */
export interface ImportOptions {
  /** Whether only `file:` URLs and packages will do, since nobody knows what a path is relative to. */
  readonly fileOnly?: boolean;
}

/**
 * Imports a module and gives the plugins that its default export is, holds or makes.
 *
 * @param module - A path (relative to the working directory), a `file:` URL, or the name of an
 *   installed package. Never source text: the scheduler runs none.
 * @throws FarmError `ERR_ARGUMENT` where it cannot be imported, or what it exports is no plugin.
 */
export async function importPlugins(
  module: string,
  args: readonly string[],
  options: ImportOptions = {},
): Promise<readonly NamedPlugin[]> {
  const url = locate(module, options);
  let exported: unknown;
  try {
    const namespace: unknown = await import(url);
    // SAFE: a module's namespace is an object that may be read by name.
    exported = (namespace as Readonly<Record<string, unknown>>)['default'];
    // SAFE: what the function gives is checked below, whatever its parameters are.
    if (typeof exported === 'function') exported = (exported as PluginFactory)(args);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new FarmError('ERR_ARGUMENT', `${module} cannot be loaded: ${why}`, { cause: error });
  }
  const found: readonly unknown[] = Array.isArray(exported) ? exported : [exported];
  const base = url.slice(url.lastIndexOf('/') + 1).replace(/\.[^.]*$/, '');
  return found.map((candidate, index) => {
    const wrong = findProblem(candidate);
    if (wrong !== null) throw new FarmError('ERR_ARGUMENT', `${module}: ${wrong}`);
    // SAFE: all that a plugin has was just checked.
    const plugin = candidate as SchedulerPlugin;
    return { name: plugin.name ?? (index === 0 ? base : `${base}-${index}`), plugin };
  });
}

function locate(module: string, { fileOnly = false }: ImportOptions): string {
  if (module.startsWith('file:')) return module;
  const scheme = /^([a-z][a-z\d+.-]+):/i.exec(module)?.[1];
  const isPath = isAbsolute(module) || /^\.{0,2}\//.test(module) || module.startsWith('.');
  if (scheme !== undefined || (fileOnly && isPath && !isAbsolute(module))) {
    const why =
      `plugins are loaded from files and installed packages of the scheduler's host, not from ` +
      JSON.stringify(module.slice(0, 80));
    throw new FarmError('ERR_ARGUMENT', why);
  }
  if (isPath) return pathToFileURL(resolve(module)).href;
  try {
    const require = createRequire(join(process.cwd(), 'noop.js'));
    return pathToFileURL(require.resolve(module)).href;
  } catch (error) {
    const why = `there is no package ${module}; a file is written ./${module}`;
    throw new FarmError('ERR_ARGUMENT', why, { cause: error });
  }
}

function findProblem(candidate: unknown): string | null {
  if (typeof candidate !== 'object' || candidate === null) {
    return 'its default export is no plugin: export an object with methods such as addWorker';
  }
  // SAFE: any object may be read by name; what is read is unknown.
  const record = candidate as Readonly<Record<string, unknown>>;
  const wrong = METHODS.find((name) => !['function', 'undefined'].includes(typeof record[name]));
  if (wrong !== undefined) return `${wrong} of its plugin is not a function`;
  const { name } = record;
  if (name !== undefined && (typeof name !== 'string' || name === '')) {
    return 'the name of its plugin is not text';
  }
  return METHODS.some((method) => record[method] !== undefined)
    ? null
    : `its plugin has none of the methods ${METHODS.join(', ')}`;
}

import type { PluginSpec } from '@farm/protocol';
import { FarmError } from '@farm/protocol/core';

import { importFromCwd, TaskFunctions } from '../executors/threads/task-functions.ts';
import { BUILTIN_PLUGINS } from './builtin/builtin-plugins.ts';
import type { WorkerPlugin } from './worker-plugin.ts';

const METHODS = ['setup', 'teardown', 'transition'] as const;

/**
 * Makes the plugins that a spec describes: imports or evaluates its code and calls or constructs
 * what that gives.
 *
 * @throws FarmError `ERR_PLUGIN` where there is no plugin; or what its code throws.
 */
export async function loadPlugins({ code, args }: PluginSpec): Promise<readonly WorkerPlugin[]> {
  const found = await make(await load(code), args);
  const list: readonly unknown[] = Array.isArray(found) ? found : [found];
  return list.map((candidate) => {
    const wrong = findProblem(candidate);
    const name = code.kind === 'module' ? code.url : code.name;
    if (wrong !== null) throw new FarmError('ERR_PLUGIN', `${name}: ${wrong}`);
    // SAFE: all that a plugin has was just checked.
    return candidate as WorkerPlugin;
  });
}

async function load(code: PluginSpec['code']): Promise<unknown> {
  switch (code.kind) {
    case 'builtin': {
      const builtin = Object.hasOwn(BUILTIN_PLUGINS, code.name)
        ? BUILTIN_PLUGINS[code.name]
        : undefined;
      if (builtin !== undefined) return builtin;
      throw new FarmError('ERR_PLUGIN', `this worker has no plugin ${code.name} of its own`);
    }
    case 'source': {
      const functions = new TaskFunctions('');
      functions.define(0, code.name, code);
      return functions.load(0);
    }
    case 'module': {
      const exports = await importFromCwd(code.url);
      if (code.exportName in exports) return exports[code.exportName];
      const names = Object.keys(exports).join(', ');
      const has = names === '' ? 'none' : `only ${names}`;
      const why = `the module ${code.url} has no export ${code.exportName}, ${has}`;
      throw new FarmError('ERR_PLUGIN', why);
    }
    default:
      code satisfies never;
      throw new FarmError('ERR_PLUGIN', 'the code of this plugin is of no known kind');
  }
}

async function make(loaded: unknown, args: readonly unknown[]): Promise<unknown> {
  if (typeof loaded !== 'function') return loaded;
  if (/^class\b/.test(Function.prototype.toString.call(loaded))) {
    const made: unknown = Reflect.construct(loaded, args);
    return made;
  }
  // SAFE: what it gives is checked by the caller, whatever its parameters are.
  return await (loaded as (...args: readonly unknown[]) => unknown)(...args);
}

function findProblem(candidate: unknown): string | null {
  if (typeof candidate !== 'object' || candidate === null) {
    return 'this is no plugin: give an object with setup, teardown or transition';
  }
  // SAFE: any object may be read by name; what is read is unknown.
  const record = candidate as Readonly<Record<string, unknown>>;
  const wrong = METHODS.find((name) => !['function', 'undefined'].includes(typeof record[name]));
  if (wrong !== undefined) return `${wrong} of its plugin is not a function`;
  return METHODS.some((method) => record[method] !== undefined)
    ? null
    : `its plugin has none of the methods ${METHODS.join(', ')}`;
}

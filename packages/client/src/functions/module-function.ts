import { isAbsolute } from 'node:path';
import { pathToFileURL } from 'node:url';

import { FarmError, type ModuleFunction } from '@farm/protocol';

import type { AnyFunction } from '../types.ts';
import { shortName } from './source-function.ts';

/** A module, as `import.meta`, a URL, an absolute path, or the name of an installed package. */
export type ModuleReference = string | URL | { readonly url: string };

/**
 * A function that workers import instead of getting its source: made by {@link fromModule}, taken
 * by `submit` and `map` wherever a function is.
 */
export class ImportedFunction<F extends AnyFunction = AnyFunction> {
  /** What the workers are told. */
  readonly spec: ModuleFunction;
  /** Carries the function's type; never there. */
  declare readonly signature?: F;

  constructor(spec: ModuleFunction) {
    this.spec = spec;
  }
}

/**
 * Names an export of a module that the workers can import: by its file where they share the file
 * system, by package name where it is installed there. Such a function may use whatever its module
 * imports and defines. A worker imports the module once; guard what only the main program does
 * with `if (import.meta.main)`.
 *
 * @param exportName - The export's name; `default` for the default export.
 * @typeParam F - The function's type, for arguments and result to be checked.
 * @throws FarmError `ERR_FUNCTION` for a relative or remote module, or without a name.
 *
 * @example
 * // simulate.ts
 * export function simulate(seed: number): number { … }
 * // main.ts
 * import type { simulate } from './simulate.ts';
 * const job = fromModule<typeof simulate>(new URL('./simulate.ts', import.meta.url), 'simulate');
 * const futures = client.map(job, [1, 2, 3]);
 */
export function fromModule<F extends AnyFunction = AnyFunction>(
  module: ModuleReference,
  exportName: string,
): ImportedFunction<F> {
  if (typeof exportName !== 'string' || exportName === '') {
    throw new FarmError('ERR_FUNCTION', "fromModule needs the export's name, 'default' included");
  }
  const url = moduleUrl(module);
  const base = url.slice(url.lastIndexOf('/') + 1).replace(/\.[^.]*$/, '');
  const name = shortName(exportName === 'default' ? base : exportName, 'module');
  return new ImportedFunction<F>({ kind: 'module', name, url, exportName });
}

function moduleUrl(module: ModuleReference): string {
  const text = moduleText(module);
  if (isAbsolute(text)) return pathToFileURL(text).href;
  if (text.startsWith('./') || text.startsWith('../') || text === '') {
    throw new FarmError(
      'ERR_FUNCTION',
      `a worker cannot know what ${JSON.stringify(text)} is relative to; write ` +
        `new URL(${JSON.stringify(text)}, import.meta.url)`,
    );
  }
  const scheme = /^([a-z][a-z\d+.-]*):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme !== undefined && scheme !== 'file' && scheme !== 'node') {
    throw new FarmError(
      'ERR_FUNCTION',
      `workers import from files and installed packages, not from ${JSON.stringify(text)}`,
    );
  }
  return text;
}

function moduleText(module: ModuleReference): string {
  if (typeof module === 'string') return module;
  if (module instanceof URL) return module.href;
  if (typeof module === 'object' && module !== null && typeof module.url === 'string') {
    return module.url;
  }
  throw new FarmError(
    'ERR_FUNCTION',
    'fromModule takes import.meta, a URL, an absolute path or a package name',
  );
}

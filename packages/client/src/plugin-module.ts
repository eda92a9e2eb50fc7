import { isAbsolute } from 'node:path';
import { pathToFileURL } from 'node:url';

import { FarmError, type PluginParams } from '@farm/protocol';

import type { ModuleReference } from './functions/module-function.ts';

/** How a plugin is registered. */
export interface RegisterPluginOptions {
  /**
   * A plugin is loaded once under a name, whoever asks for it.
   * @default the name of the module's file, or the package
   */
  readonly name?: string;
  /** For the module's default export, where that is a function. @default none */
  readonly args?: readonly string[];
}

/**
 * What the scheduler is told of a plugin's module.
 *
 * @throws FarmError `ERR_ARGUMENT` for a relative or remote module.
 */
export function pluginParams(
  module: ModuleReference,
  { name, args = [] }: RegisterPluginOptions,
): PluginParams {
  const text = typeof module === 'string' ? module : 'href' in module ? module.href : module.url;
  const url = isAbsolute(text) ? pathToFileURL(text).href : text;
  const isFile = url.startsWith('file:');
  if (!isFile && (url === '' || url.startsWith('.') || /^[a-z][a-z\d+.-]*:/i.test(url))) {
    const why =
      `registerPlugin: the scheduler loads files and installed packages of its host, not ` +
      `${JSON.stringify(text.slice(0, 80))}; write new URL('./plugin.ts', import.meta.url)`;
    throw new FarmError('ERR_ARGUMENT', why);
  }
  const base = isFile ? url.slice(url.lastIndexOf('/') + 1).replace(/\.[^.]*$/, '') : url;
  return { name: name ?? base, module: url, args };
}

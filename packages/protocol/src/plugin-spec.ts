/**
 * How a plugin of workers names its code. Encoded by the client with `encodeValue`, opaque to the
 * scheduler, decoded by workers.
 */
import type { ModuleFunction, SourceFunction } from './function-spec.ts';

/** A plugin that comes with farm. */
export interface BuiltinPlugin {
  readonly kind: 'builtin';
  readonly name: 'archive' | 'copy-out' | 'environment' | 'npm-install' | 'upload';
}

/** A plugin of a worker, or of a nanny. */
export interface PluginSpec {
  /** A function that makes the plugin, a class of plugins, or the plugin itself. */
  readonly code: SourceFunction | ModuleFunction | BuiltinPlugin;
  /** For the function or the constructor. */
  readonly args: readonly unknown[];
  /** Its setup may take this long. */
  readonly setupTimeoutMs: number;
}

import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { constants, Script } from 'node:vm';

import type { ModuleFunction, SourceFunction } from '@farm/protocol';
import { FarmError } from '@farm/protocol/core';
import { errorText } from '@farm/protocol/value';

import type { ThreadFunction } from './thread-messages.ts';

/** Code of a task, ready to call. */
export type TaskFunction = (...args: unknown[]) => unknown;

/**
 * The functions a thread knows. A function is evaluated or imported when it is first called, and
 * kept; a failure is not kept, since a module may turn up later.
 */
export class TaskFunctions {
  readonly #workerName: string;
  readonly #specs = new Map<number, { readonly name: string; readonly spec: ThreadFunction }>();
  readonly #loaded = new Map<number, TaskFunction>();

  constructor(workerName: string) {
    this.#workerName = workerName;
  }

  define(fn: number, name: string, spec: ThreadFunction): void {
    this.#specs.set(fn, { name, spec });
  }

  forget(fns: readonly number[]): void {
    for (const fn of fns) {
      this.#specs.delete(fn);
      this.#loaded.delete(fn);
    }
  }

  /** The function, where it was loaded before. */
  loaded(fn: number): TaskFunction | undefined {
    return this.#loaded.get(fn);
  }

  /**
   * Evaluates or imports a function.
   *
   * @throws FarmError `ERR_FUNCTION`
   */
  async load(fn: number): Promise<TaskFunction> {
    const known = this.#specs.get(fn);
    if (known === undefined) {
      throw new FarmError('ERR_FUNCTION', `function ${fn} is not known to this thread`);
    }
    const { name, spec } = known;
    const loaded =
      spec.kind === 'source'
        ? fromSource(fn, name, spec)
        : await fromModule(spec, this.#workerName);
    this.#loaded.set(fn, loaded);
    return loaded;
  }
}

/**
 * An `import()` inside a function's source resolves against the worker's directory, as if a file
 * there imported. Without a file that imports, Node takes the module for the program itself:
 * `import.meta.main` would be true in it.
 */
const RESOLVE_FROM_CWD = {
  filename: pathToFileURL(join(process.cwd(), 'farm-task')).href,
  importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
};

/** Imports a module as a file in the worker's working directory would. */
// SAFE: the text is this constant.
export const importFromCwd: (specifier: string) => Promise<Record<string, unknown>> = new Script(
  '(specifier) => import(specifier)',
  RESOLVE_FROM_CWD,
).runInThisContext() as (specifier: string) => Promise<Record<string, unknown>>;

/**
 * What functions that travel by their source find as `getClient`. The client's package is no part
 * of the worker: it is the one that is installed in the worker's directory.
 *
 * @throws FarmError `ERR_FUNCTION` where there is none.
 */
export async function getClient(): Promise<unknown> {
  let exports: Record<string, unknown>;
  try {
    exports = await importFromCwd('@farm/client');
  } catch (error) {
    throw new FarmError(
      'ERR_FUNCTION',
      `getClient() needs the package @farm/client in ${process.cwd()}: ${errorText(error)}`,
      { cause: error },
    );
  }
  const { getClient: get } = exports;
  // SAFE: it takes nothing.
  if (typeof get === 'function') return (get as () => unknown)();
  throw new FarmError('ERR_FUNCTION', 'this version of @farm/client has no getClient()');
}

// At its first use, Node warns that its default loader for scripts may change.
void withoutWarnings(() => importFromCwd('node:vm'));

function fromSource(fn: number, name: string, spec: SourceFunction): TaskFunction {
  const evaluated = evaluate(fn, name, spec.source);
  if (typeof evaluated !== 'function') {
    throw new FarmError(
      'ERR_FUNCTION',
      `the source of ${name} does not evaluate to a function but to ${describe(evaluated)}`,
    );
  }
  // An arrow's name stays behind with the variable that had it; stacks show the property.
  if (evaluated.name === '') nameFunction(evaluated, name);
  // SAFE: a function takes whatever it is given.
  return evaluated as TaskFunction;
}

function evaluate(fn: number, name: string, source: string): unknown {
  const sourceUrl = `farm:///${encodeURIComponent(name)}-${fn}`;
  // Functions come from ECMAScript modules, which are strict; the sloppy way is for the rest. The
  // source stays on the first line, so that line numbers in stacks are those of the source.
  const wrapped = (directive: string): string =>
    `(function (__name) {${directive}return (${source}\n)})\n//# sourceURL=${sourceUrl}`;
  const run = (directive: string): unknown => {
    const script = new Script(wrapped(directive), RESOLVE_FROM_CWD);
    // SAFE: the text is a function expression.
    const factory = script.runInThisContext() as (name: typeof nameFunction) => unknown;
    return factory(nameFunction);
  };
  try {
    return run("'use strict';");
  } catch (error) {
    if (!isSyntaxError(error)) throw notEvaluated(name, error);
  }
  try {
    return run('');
  } catch (error) {
    throw notEvaluated(name, error);
  }
}

/** esbuild's `keepNames` puts calls of this helper into function sources. */
function nameFunction(target: unknown, value: string): unknown {
  if (typeof target !== 'function') return target;
  return Object.defineProperty(target, 'name', { value, configurable: true });
}

async function fromModule(spec: ModuleFunction, workerName: string): Promise<TaskFunction> {
  let exports: Record<string, unknown>;
  try {
    exports = await importFromCwd(spec.url);
  } catch (error) {
    throw new FarmError(
      'ERR_FUNCTION',
      `the module ${spec.url} could not be imported on worker ${workerName}: ${errorText(error)}`,
      { cause: error },
    );
  }
  const exported = exports[spec.exportName];
  if (typeof exported === 'function') {
    // SAFE: a function takes whatever it is given.
    return exported as TaskFunction;
  }
  const what =
    spec.exportName in exports
      ? `its export ${spec.exportName} is not a function but ${describe(exported)}`
      : `it has no export ${spec.exportName}, only ${Object.keys(exports).join(', ') || 'none'}`;
  throw new FarmError('ERR_FUNCTION', `the module ${spec.url} was imported, but ${what}`);
}

function notEvaluated(name: string, error: unknown): FarmError {
  const hint = isSyntaxError(error) ? `; this worker runs Node ${process.versions.node}` : '';
  return new FarmError(
    'ERR_FUNCTION',
    `the source of ${name} could not be evaluated: ${errorText(error)}${hint}`,
    { cause: error },
  );
}

function isSyntaxError(error: unknown): boolean {
  return error instanceof SyntaxError;
}

function describe(value: unknown): string {
  return value === null ? 'null' : `a value of type ${typeof value}`;
}

function withoutWarnings<Result>(act: () => Result): Result {
  const before = Object.getOwnPropertyDescriptor(process, 'emitWarning') ?? {};
  process.emitWarning = () => {};
  try {
    return act();
  } finally {
    Object.defineProperty(process, 'emitWarning', before);
  }
}

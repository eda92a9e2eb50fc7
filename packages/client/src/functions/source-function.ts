import { isBuiltin } from 'node:module';

import { FarmError, type SourceFunction } from '@farm/protocol';

import { type FunctionAnalysis, analyzeFunction } from './free-variables.ts';

/**
 * Describes a self-contained function by its source text.
 *
 * @throws FarmError `ERR_FUNCTION` where the source alone does not make the function: it names the
 * variables that would be missing, and says how to pass them.
 */
export function sourceFunction(fn: Function): SourceFunction {
  const shown = fn.name === '' ? 'this function' : `the function ${fn.name}`;
  const source = Function.prototype.toString.call(fn);
  refuseNative(fn, shown, source);
  const analysis = analyzeFunction(source, fn.name);
  if ('problem' in analysis) {
    throw refusal(
      `the source of ${shown} cannot be parsed (${analysis.problem}); ${MODULE_ADVICE}`,
    );
  }
  refuseKind(analysis.kind, shown);
  refuseBindings(analysis.bindings, shown);
  refuseFreeVariables(analysis, shown);
  return { kind: 'source', name: functionName(fn), source: analysis.expression };
}

/** The name of a function for keys and messages, bounded. */
export function functionName(fn: Function): string {
  return shortName(fn.name, 'function');
}

/** A name fit to begin a key: bounded, without control characters and lone surrogates. */
export function shortName(name: string, otherwise: string): string {
  const cleaned = name.toWellFormed().replace(/[\p{C}\s]+/gu, '_');
  return cleaned === '' ? otherwise : cleaned.slice(0, NAME_LENGTH_MAX).toWellFormed();
}

const NAME_LENGTH_MAX = 100;
const NAMES_SHOWN_MAX = 10;

const MODULE_ADVICE =
  "export the function from a module and submit fromModule(import.meta, 'name') instead";

/** Names that test runners and bundlers put in the place of imports. */
const REWRITTEN_IMPORT =
  /^(?:__vite_ssr_(?:import|exports|dynamic)|__vi_import_|__webpack_|import_\w+_\d+$|_interop)/;
/** Names that coverage tools put into every function. */
const INSTRUMENTED = /^(?:cov_|__cov|__coverage__)/;

function refuseNative(fn: Function, shown: string, source: string): void {
  if (!/\{\s*\[native code\]\s*\}\s*$/.test(source)) return;
  if (fn.name.startsWith('bound ')) {
    throw refusal(
      `${shown} was made with bind() and has no source; submit the function itself and pass ` +
        'what was bound as arguments',
    );
  }
  throw refusal(
    `${shown} is native and has no source; wrap it, for example (x) => ` +
      `${fn.name === '' ? 'f' : `Math.${fn.name in Math ? fn.name : 'sqrt'}`}(x)`,
  );
}

function refuseKind(kind: FunctionAnalysis['kind'], shown: string): void {
  switch (kind) {
    case 'function':
      return;
    case 'class':
      throw refusal(`${shown} is a class; submit a function that makes and uses an instance`);
    case 'generator':
      throw refusal(
        `${shown} is a generator, and what it yields cannot travel; submit a function that ` +
          'returns an array',
      );
    case 'accessor':
      throw refusal(`${shown} is a getter or setter; submit a function`);
  }
}

function refuseBindings(bindings: readonly string[], shown: string): void {
  if (bindings.length === 0) return;
  throw refusal(
    `${shown} uses ${bindings.join(' and ')}, which does not travel with its source; pass what ` +
      `it needs as arguments, or ${MODULE_ADVICE}`,
  );
}

function refuseFreeVariables(analysis: FunctionAnalysis, shown: string): void {
  const names = analysis.freeVariables;
  if (names.length === 0) return;
  const listed = names.slice(0, NAMES_SHOWN_MAX).join(', ');
  const more = names.length > NAMES_SHOWN_MAX ? `, and ${names.length - NAMES_SHOWN_MAX} more` : '';
  const one = names.length === 1;
  throw refusal(
    `${shown} uses ${listed}${more}, which a worker does not have, since only the source of a ` +
      `function travels: pass ${one ? 'it' : 'them'} as ${one ? 'an argument' : 'arguments'}, ` +
      `${importAdvice(names)}or ${MODULE_ADVICE}` +
      originOf(names),
  );
}

/** Modules whose exports are told by their names. */
const COMMON_MODULES = ['fs', 'fs/promises', 'path', 'os', 'child_process', 'crypto', 'util'];

/** For names that are or may be imports of the user's file: how to import inside the function. */
function importAdvice(names: readonly string[]): string {
  for (const name of names) {
    if (REWRITTEN_IMPORT.test(name) || name === 'require') {
      return "import inside the function (const fs = await import('node:fs')), ";
    }
    const statement = importStatement(name);
    if (statement !== undefined) {
      return `import inside the function if it is Node's (${statement}), `;
    }
  }
  return '';
}

function importStatement(name: string): string | undefined {
  if (isBuiltin(name)) return `const ${name} = await import('node:${name}')`;
  const module = COMMON_MODULES.find((id) => {
    return Object.hasOwn(process.getBuiltinModule(`node:${id}`) ?? {}, name);
  });
  return module === undefined ? undefined : `const { ${name} } = await import('node:${module}')`;
}

function originOf(names: readonly string[]): string {
  const rewritten = names.find((name) => REWRITTEN_IMPORT.test(name));
  if (rewritten !== undefined) {
    return ` (${rewritten} is what a bundler or test runner made of an import)`;
  }
  const instrumented = names.find((name) => INSTRUMENTED.test(name));
  return instrumented === undefined
    ? ''
    : ` (${instrumented} comes from a coverage tool: exclude the file from it)`;
}

function refusal(message: string): FarmError {
  return new FarmError('ERR_FUNCTION', message);
}

import { createHash } from 'node:crypto';

import {
  FarmError,
  type FunctionExecutor,
  type FunctionSpec,
  type ModuleFunction,
  type SourceFunction,
} from '@farm/protocol';
import { encodeValue } from '@farm/protocol/value';

import { Command } from '../command.ts';
import { ImportedFunction } from './module-function.ts';
import { sourceFunction } from './source-function.ts';

/** A function or command, ready to be told to a scheduler. */
export interface PreparedFunction {
  /** Identifies the spec by its content: SHA-256, hexadecimal. */
  readonly hash: string;
  readonly name: string;
  /** An encoded `FunctionSpec`. */
  readonly spec: Uint8Array;
  /** Arguments it cannot do without. */
  readonly arity: number;
}

/** Functions by source text that are remembered: a loop that makes its function anew is common. */
const SOURCES_MAX = 1_000;

/** How a function is to be run, besides what it is. */
export interface FunctionPlace {
  /** Undefined leaves it to the worker. */
  readonly executor?: FunctionExecutor | undefined;
  /** @default false */
  readonly sharedInputs?: boolean;
}

/** Functions that were prepared, by how they are to be run. */
const byIdentity = new Map<string, WeakMap<object, PreparedFunction>>();
const bySource = new Map<string, PreparedFunction>();

/**
 * Makes whatever a user submits ready to be sent, once for each function object and source text.
 *
 * @throws FarmError `ERR_FUNCTION` for what cannot travel.
 */
export function prepareFunction(code: unknown, place: FunctionPlace = {}): PreparedFunction {
  if (typeof code !== 'function' && !isDescriptor(code)) throw notSubmittable(code);
  const prepared = preparedFor(place);
  const known = prepared.get(code);
  if (known !== undefined) return known;
  const made =
    typeof code === 'function' ? prepareSource(code, place) : prepareDescriptor(code, place);
  prepared.set(code, made);
  return made;
}

function preparedFor(place: FunctionPlace): WeakMap<object, PreparedFunction> {
  const name = placeName(place);
  const prepared = byIdentity.get(name) ?? new WeakMap<object, PreparedFunction>();
  byIdentity.set(name, prepared);
  return prepared;
}

function placeName({ executor, sharedInputs = false }: FunctionPlace): string {
  const name = executor ?? 'default';
  return sharedInputs ? `${name}, shared inputs` : name;
}

function prepareSource(fn: Function, place: FunctionPlace): PreparedFunction {
  const text = `${placeName(place)}\n${fn.name}\n${Function.prototype.toString.call(fn)}`;
  const known = bySource.get(text);
  if (known !== undefined) return known;
  const prepared = prepareSpec(placed(sourceFunction(fn), place), 0);
  if (bySource.size >= SOURCES_MAX) {
    for (const oldest of bySource.keys()) {
      bySource.delete(oldest);
      break;
    }
  }
  bySource.set(text, prepared);
  return prepared;
}

function prepareDescriptor(
  code: Command | ImportedFunction,
  place: FunctionPlace,
): PreparedFunction {
  // A command is a process in any case.
  if (code instanceof Command) return prepareSpec(code.spec, code.arity);
  return prepareSpec(placed(code.spec, place), 0);
}

function placed<Spec extends SourceFunction | ModuleFunction>(
  spec: Spec,
  { executor, sharedInputs = false }: FunctionPlace,
): Spec {
  const placedSpec = executor === undefined ? spec : { ...spec, executor };
  return sharedInputs ? { ...placedSpec, sharedInputs } : placedSpec;
}

function prepareSpec(spec: FunctionSpec, arity: number): PreparedFunction {
  const { bytes } = encodeValue(spec, { what: spec.name, futures: false });
  const hash = createHash('sha256').update(bytes).digest('hex');
  return { hash, name: spec.name, spec: bytes, arity };
}

function isDescriptor(code: unknown): code is Command | ImportedFunction {
  return code instanceof Command || code instanceof ImportedFunction;
}

function notSubmittable(code: unknown): FarmError {
  const shown = code === null ? 'null' : typeof code === 'object' ? 'an object' : typeof code;
  return new FarmError(
    'ERR_FUNCTION',
    `${shown} cannot be submitted; submit a function, command(…) or fromModule(…)`,
  );
}

import { createHash } from 'node:crypto';

import { FarmError, type FunctionSpec } from '@farm/protocol';
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

const byIdentity = new WeakMap<object, PreparedFunction>();
const bySource = new Map<string, PreparedFunction>();

/**
 * Makes whatever a user submits ready to be sent, once for each function object and source text.
 *
 * @throws FarmError `ERR_FUNCTION` for what cannot travel.
 */
export function prepareFunction(code: unknown): PreparedFunction {
  if (typeof code !== 'function' && !isDescriptor(code)) throw notSubmittable(code);
  const known = byIdentity.get(code);
  if (known !== undefined) return known;
  const prepared = typeof code === 'function' ? prepareSource(code) : prepareDescriptor(code);
  byIdentity.set(code, prepared);
  return prepared;
}

function prepareSource(fn: Function): PreparedFunction {
  const text = `${fn.name}\n${Function.prototype.toString.call(fn)}`;
  const known = bySource.get(text);
  if (known !== undefined) return known;
  const prepared = prepareSpec(sourceFunction(fn), 0);
  if (bySource.size >= SOURCES_MAX) {
    for (const oldest of bySource.keys()) {
      bySource.delete(oldest);
      break;
    }
  }
  bySource.set(text, prepared);
  return prepared;
}

function prepareDescriptor(code: Command | ImportedFunction): PreparedFunction {
  return prepareSpec(code.spec, code instanceof Command ? code.arity : 0);
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

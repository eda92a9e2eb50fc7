import { isDeepStrictEqual } from 'node:util';
import { decodeValue, encodeValue } from '../../src/value/index.ts';

/** The value after a journey. */
export function roundTrip(value: unknown): unknown {
  return decodeValue(encodeValue(value).bytes);
}

/** Whether a value arrives as structuredClone would make it. */
export function arrivesAsClone(value: unknown): boolean {
  return isDeepStrictEqual(roundTrip(value), structuredClone(value));
}

/** `depth` arrays, one inside the other. */
export function nestedArrays(depth: number): unknown {
  let value: unknown = [];
  for (let level = 1; level < depth; level++) value = [value];
  return value;
}

import { inspect } from 'node:util';

/** Above this length asking for all keys costs more than {@link looksPlain}. */
const KEYS_LENGTH_MAX = 100;
const NONE: readonly string[] = Object.freeze([]);

/** The own enumerable string keys of an array that are not indices, as `match.index` has them. */
export function arrayProperties(array: readonly unknown[]): readonly string[] {
  if (array.length > KEYS_LENGTH_MAX && looksPlain(array)) return NONE;
  const keys = Object.keys(array);
  let first = keys.length;
  // Indices come first, in ascending order.
  while (first > 0 && !isArrayIndex(keys[first - 1] ?? '')) first--;
  return first === keys.length ? NONE : keys.slice(first);
}

/** The indices of `array` that have a value, from `from` on. For sparse arrays. */
export function arrayIndices(array: readonly unknown[], from: number): readonly number[] {
  const indices: number[] = [];
  for (const key of Object.keys(array)) {
    if (isArrayIndex(key) && Number(key) >= from) indices.push(Number(key));
  }
  return indices;
}

function isArrayIndex(key: string): boolean {
  const digit = key.charCodeAt(0);
  if (!(digit >= 0x30 && digit <= 0x39)) return false;
  const index = Number(key) >>> 0;
  return index !== 2 ** 32 - 1 && String(index) === key;
}

/**
 * Whether the array surely has no property besides its items. `inspect` asks the engine for the
 * properties that are not indices, which no language feature can: constant time, where
 * `Object.keys` of a million items takes 100 ms.
 */
function looksPlain(array: readonly unknown[]): boolean {
  const text = inspect(array, {
    maxArrayLength: 0,
    depth: 0,
    breakLength: Infinity,
    customInspect: false,
    getters: false,
    numericSeparator: false,
    colors: false,
  });
  return text === `[ ... ${array.length} more items ]`;
}

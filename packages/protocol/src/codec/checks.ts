/** Checks of single fields. Each returns what is wrong, or undefined. */
import { LIMITS, u32At, u32Count } from '../core/index.ts';

/** What is wrong with a value: a phrase that follows the name of its field. */
export type Problem = string | undefined;

/** A check of one field. */
export type Check = (value: unknown) => Problem;

/** A non-negative safe integer: an id, a count, a size, an offset. */
export const integer: Check = (value) => {
  return isInteger(value) ? undefined : 'is not a non-negative integer';
};

/** A non-negative finite number: a duration, an amount. */
export const amount: Check = (value) => {
  return isAmount(value) ? undefined : 'is not a non-negative number';
};

/** Any finite number. */
export const finite: Check = (value) => {
  return Number.isFinite(value) ? undefined : 'is not a finite number';
};

/** True or false. */
export const flag: Check = (value) => (typeof value === 'boolean' ? undefined : 'is not a boolean');

/** Text of any length the frame allows. */
export const text: Check = (value) => (typeof value === 'string' ? undefined : 'is not text');

/** Text that identifies something: not empty, at most as long as a key. */
export const name: Check = (value) => {
  if (typeof value !== 'string') return 'is not text';
  if (value.length === 0) return 'is empty';
  return value.length <= LIMITS.keyLengthMax ? undefined : `is longer than ${LIMITS.keyLengthMax}`;
};

/** Bytes. */
export const bytes: Check = (value) => (value instanceof Uint8Array ? undefined : 'is not bytes');

/** Anything the codec can carry. */
export const anything: Check = () => undefined;

/** Null, or what `check` accepts. */
export function nullable(check: Check): Check {
  return (value) => (value === null ? undefined : check(value));
}

/** Exactly this value. */
export function literal(expected: string): Check {
  return (value) => (value === expected ? undefined : `is not ${expected}`);
}

/** A list whose every item passes `check`. */
export function listOf(check: Check): Check {
  return (value) => {
    if (!Array.isArray(value)) return 'is not a list';
    for (let index = 0; index < value.length; index++) {
      const problem = check(value[index]);
      if (problem !== undefined) return `[${index}] ${problem}`;
    }
    return undefined;
  };
}

/** A list of non-negative safe integers: the hot case of {@link listOf}. */
export const integers: Check = (value) => {
  if (!Array.isArray(value)) return 'is not a list';
  for (let index = 0; index < value.length; index++) {
    if (!isInteger(value[index])) return `[${index}] is not a non-negative integer`;
  }
  return undefined;
};

/** A list of positive integers: sizes of results. */
export const positiveIntegers: Check = (value) => {
  if (!Array.isArray(value)) return 'is not a list';
  for (let index = 0; index < value.length; index++) {
    const item: unknown = value[index];
    if (!isInteger(item) || item === 0) return `[${index}] is not a positive integer`;
  }
  return undefined;
};

/** A list of non-negative finite numbers: the hot case of {@link listOf}. */
export const amounts: Check = (value) => {
  if (!Array.isArray(value)) return 'is not a list';
  for (let index = 0; index < value.length; index++) {
    if (!isAmount(value[index])) return `[${index}] is not a non-negative number`;
  }
  return undefined;
};

/** Checks a record inside a message; names the field in what it says. */
export function record(fields: Readonly<Record<string, Check>>): Check {
  const names = Object.keys(fields);
  return (value) => {
    if (typeof value !== 'object' || value === null) return 'is not a record';
    for (const field of names) {
      // SAFE: any object may be read by name; what is read is unknown.
      const problem = fields[field]?.((value as Record<string, unknown>)[field]);
      if (problem !== undefined) return `: ${field} ${problem}`;
    }
    return undefined;
  };
}

/** A list of texts. */
export const texts: Check = listOf(text);

const pair: Check = (value) => {
  if (!Array.isArray(value) || value.length !== 2) return 'is not a pair of name and amount';
  return name(value[0]) ?? amount(value[1]);
};

const pairs = listOf(pair);

/** Named amounts, each name once. */
export const resourceAmounts: Check = (value) => {
  const problem = pairs(value);
  if (problem !== undefined || !Array.isArray(value) || value.length < 2) return problem;
  const names = new Set(value.map((entry: readonly unknown[]) => entry[0]));
  return names.size === value.length ? undefined : 'names a resource twice';
};

/** `[first, count, first, count, …]` over ids below 2^32. */
export const idRanges: Check = (value) => {
  const problem = integers(value);
  if (problem !== undefined || !Array.isArray(value)) return problem;
  if (value.length % 2 !== 0) return 'has a first without a count';
  for (let index = 0; index < value.length; index += 2) {
    if (Number(value[index]) + Number(value[index + 1]) > 2 ** 32) {
      return `[${index}] reaches past 2^32`;
    }
  }
  return undefined;
};

/** A packed column of little-endian u32. */
export const u32Column: Check = (value) => {
  if (!(value instanceof Uint8Array)) return 'is not bytes';
  return value.byteLength % 4 === 0 ? undefined : 'is not a column: its length is not 4 × n';
};

/**
 * Whether a packed `ends` column has one entry per task, never falls, and ends at `total`.
 */
export function endsColumnProblem(column: Uint8Array, count: number, total: number): Problem {
  if (u32Count(column) !== count) return `has ${u32Count(column)} entries for ${count} tasks`;
  let previous = 0;
  for (let index = 0; index < count; index++) {
    const end = u32At(column, index);
    if (end < previous) return `falls at entry ${index}`;
    previous = end;
  }
  return previous === total ? undefined : `ends at ${previous}, there are ${total}`;
}

/** The same for an `ends` list. */
export function endsProblem(ends: readonly number[], count: number, total: number): Problem {
  if (ends.length !== count) return `has ${ends.length} entries, there are ${count}`;
  let previous = 0;
  for (let index = 0; index < count; index++) {
    const end = ends[index] ?? 0;
    if (end < previous) return `falls at entry ${index}`;
    previous = end;
  }
  return previous === total ? undefined : `ends at ${previous}, there are ${total} bytes`;
}

function isInteger(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0;
}

function isAmount(value: unknown): value is number {
  return Number.isFinite(value) && Number(value) >= 0;
}

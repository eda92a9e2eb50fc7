import { FarmError } from './core/errors.ts';
import { parseDecimal } from './numbers.ts';
import { quote } from './quote.ts';

const BYTE_UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ...byteUnits(['k', 'm', 'g', 't', 'p', 'e']),
]);

/** Units of time in milliseconds. As in Dask, a number alone is seconds and `m` is a minute. */
const DURATION_UNITS: ReadonlyMap<string, number> = new Map([
  ...names(1e-6, ['ns', 'nanosecond', 'nanoseconds']),
  ...names(1e-3, ['us', 'µs', 'microsecond', 'microseconds']),
  ...names(1, ['ms', 'msec', 'msecs', 'millisecond', 'milliseconds']),
  ...names(1_000, ['', 's', 'sec', 'secs', 'second', 'seconds']),
  ...names(60_000, ['m', 'min', 'mins', 'minute', 'minutes']),
  ...names(3_600_000, ['h', 'hr', 'hrs', 'hour', 'hours']),
  ...names(86_400_000, ['d', 'day', 'days']),
  ...names(604_800_000, ['w', 'week', 'weeks']),
]);

/**
 * Reads a size in bytes: a number, then perhaps a unit, in any letter case. `kB MB GB TB PB` are
 * powers of 1000, `KiB MiB GiB TiB PiB` powers of 1024; the `B` may be left out. A fraction of a
 * byte is dropped.
 *
 * @throws FarmError `ERR_ARGUMENT` for anything else, and for negative or unsafely large sizes.
 *
 * @example
 * parseBytes('5GB'); // 5_000_000_000
 * parseBytes('5 GiB'); // 5_368_709_120
 * parseBytes('1e9'); // 1_000_000_000
 */
export function parseBytes(text: string): number {
  const bytes = Math.floor(
    parseWithUnit(text, BYTE_UNITS, 'a size', 'for example 5GB, 512MiB, 1e9'),
  );
  if (Number.isSafeInteger(bytes)) return bytes;
  throw new FarmError('ERR_ARGUMENT', `${quote(text)} is too large for a size in bytes`);
}

/**
 * Reads a duration: a number, then perhaps a unit, in any letter case, as Dask reads it. A number
 * alone is seconds; units are `ns us ms s m h d w` and their English names.
 *
 * @returns Milliseconds; a fraction where the text asks for less than one. Timers of Node reach
 * 2^31-1 ms (24.8 days) only; longer ones must be counted in steps.
 * @throws FarmError `ERR_ARGUMENT` for anything else, and for negative durations.
 *
 * @example
 * parseDuration('60'); // 60_000
 * parseDuration('5 minutes'); // 300_000
 * parseDuration('500ms'); // 500
 */
export function parseDuration(text: string): number {
  return parseWithUnit(text, DURATION_UNITS, 'a duration', 'for example 60, 60s, 500ms, 5 minutes');
}

const BINARY_PREFIXES: readonly (readonly [string, number])[] = [
  ['Pi', 2 ** 50],
  ['Ti', 2 ** 40],
  ['Gi', 2 ** 30],
  ['Mi', 2 ** 20],
  ['ki', 2 ** 10],
];

/**
 * Prints a size with a binary unit and two decimals, as Dask prints it. The next larger unit is
 * used from nine tenths of it on.
 *
 * @example
 * formatBytes(2 ** 40); // '1.00 TiB'
 * formatBytes(1_000); // '0.98 kiB'
 * formatBytes(1); // '1 B'
 */
export function formatBytes(bytes: number): string {
  for (const [prefix, size] of BINARY_PREFIXES) {
    if (bytes >= size * 0.9) return `${(bytes / size).toFixed(2)} ${prefix}B`;
  }
  return `${bytes} B`;
}

function parseWithUnit(
  text: string,
  units: ReadonlyMap<string, number>,
  what: string,
  examples: string,
): number {
  const refuse = (problem: string): FarmError => {
    return new FarmError('ERR_ARGUMENT', `${quote(text)} is not ${what}${problem}; ${examples}`);
  };
  // An `e` belongs to the number only where digits follow: 5e3 is a number, 5EB has a unit.
  const match = /^\s*([+-]?[\d.]+(?:e[+-]?\d+)?)\s*([a-zµμ]*)\s*$/i.exec(text);
  if (match === null) throw refuse('');
  const [, digits = '', unit = ''] = match;
  const amount = parseDecimal(digits);
  if (amount === undefined) throw refuse('');
  if (amount < 0) throw refuse(', it is negative');
  // Both the micro sign and the Greek letter are typed as µ.
  const factor = units.get(unit.toLowerCase().replace('μ', 'µ'));
  if (factor === undefined) throw refuse(`, ${quote(unit)} is not a unit`);
  const value = amount * factor;
  if (!Number.isFinite(value)) throw refuse(', it is too large');
  return value === 0 ? 0 : value; // -0 is 0
}

function byteUnits(prefixes: readonly string[]): [string, number][] {
  return prefixes.flatMap((prefix, index): [string, number][] => {
    const decimal = 1_000 ** (index + 1);
    const binary = 1_024 ** (index + 1);
    return [
      [prefix, decimal],
      [`${prefix}b`, decimal],
      [`${prefix}i`, binary],
      [`${prefix}ib`, binary],
    ];
  });
}

function names(factor: number, units: readonly string[]): [string, number][] {
  return units.map((unit): [string, number] => [unit, factor]);
}

import { FarmError } from './core/errors.ts';
import { quote } from './quote.ts';

const DECIMAL = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i;

/**
 * Reads a decimal number as people write it: `8`, `0.5`, `.5`, `10e9`, `-1`. Unlike `Number` it
 * does not take `''`, `0x10`, `1_000`, `NaN` or `Infinity`, nor text that overflows (`1e400`).
 *
 * @returns The number, or undefined where the text is none.
 */
export function parseDecimal(text: string): number | undefined {
  const trimmed = text.trim();
  if (!DECIMAL.test(trimmed)) return undefined;
  const number = Number(trimmed);
  return Number.isFinite(number) ? number : undefined;
}

/** Bounds of {@link parseInteger}, both inclusive. */
export interface IntegerBounds {
  /** @default 0 */
  readonly min?: number;
  /** @default Number.MAX_SAFE_INTEGER */
  readonly max?: number;
}

/**
 * Reads a whole number written with digits only.
 *
 * @throws FarmError `ERR_ARGUMENT` where the text is not a whole number within the bounds.
 *
 * @example
 * parseInteger('4', { min: 1 }); // 4
 */
export function parseInteger(text: string, bounds: IntegerBounds = {}): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = bounds;
  const number = /^[+-]?\d+$/.test(text.trim()) ? Number(text) : Number.NaN;
  if (Number.isSafeInteger(number) && number >= min && number <= max) {
    return number === 0 ? 0 : number; // -0 is 0
  }
  const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
  throw new FarmError('ERR_ARGUMENT', `${quote(text)} is not a whole number ${range}`);
}

import { FarmError } from '../core/errors.ts';
import type { ResourceAmounts } from '../core/messages.ts';
import { parseDecimal } from '../numbers.ts';
import { quote } from '../quote.ts';

/** Amounts are exact to this fraction: the cores count in ten-thousandths. */
const FRACTION = 10_000;

/** Resources that every worker has by itself. */
const RESERVED: ReadonlyMap<string, string> = new Map([
  ['threads', '--nthreads'],
  ['memory', '--memory-limit'],
]);

/**
 * Reads the abstract resources of a worker: `NAME=AMOUNT` pairs between spaces or commas. An
 * amount is a number of at least 0 with up to four decimals.
 *
 * @throws FarmError `ERR_ARGUMENT` naming the pair that is not valid.
 *
 * @example
 * parseResources('GPU=2 MEM=10e9'); // [['GPU', 2], ['MEM', 10_000_000_000]]
 */
export function parseResources(text: string): ResourceAmounts {
  const pairs = text.split(/[\s,]+/).filter((pair) => pair !== '');
  if (pairs.length === 0) throw refusal(text, 'names no resource, write for example GPU=1');
  const amounts = new Map<string, number>();
  for (const pair of pairs) {
    const [name, amount] = parsePair(pair);
    if (amounts.has(name)) throw refusal(pair, `gives ${quote(name)} a second time`);
    amounts.set(name, amount);
  }
  return [...amounts];
}

function parsePair(pair: string): readonly [name: string, amount: number] {
  const separator = pair.indexOf('=');
  if (separator === -1) {
    throw refusal(pair, 'is not NAME=AMOUNT (without spaces around =), for example GPU=1');
  }
  const name = pair.slice(0, separator);
  const example = `for example ${name === '' ? 'GPU' : name.slice(0, 40)}=1`;
  if (name === '') throw refusal(pair, `has no name before the =, ${example}`);
  const flag = RESERVED.get(name);
  if (flag !== undefined) {
    throw refusal(pair, `${quote(name)} is reserved, use ${flag}`);
  }
  const amount = parseDecimal(pair.slice(separator + 1));
  if (amount === undefined) throw refusal(pair, `amount must be a number, ${example}`);
  if (amount < 0) throw refusal(pair, `amount must not be negative, ${example}`);
  if (amount > Number.MAX_SAFE_INTEGER) throw refusal(pair, 'amount is too large');
  if (!hasFourDecimals(amount)) throw refusal(pair, 'amount has more than four decimals');
  return [name, amount === 0 ? 0 : amount]; // -0 is 0
}

function hasFourDecimals(amount: number): boolean {
  return Number.isInteger(amount) || Math.round(amount * FRACTION) / FRACTION === amount;
}

function refusal(token: string, problem: string): FarmError {
  return new FarmError('ERR_ARGUMENT', `${quote(token)}: ${problem}`);
}

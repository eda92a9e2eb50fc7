import { FarmError } from '../core/errors.ts';
import { LIMITS } from '../core/limits.ts';
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

const DEVICE_LENGTH_MAX = 100;

/** What a worker has besides threads and memory. */
export interface WorkerResources {
  readonly amounts: ResourceAmounts;
  /** Devices of resources that name them, which are among the amounts by their number. */
  readonly devices: readonly (readonly [name: string, devices: readonly string[]])[];
}

/**
 * Reads the resources of a worker: as {@link parseResources} does, and `NAME=[DEVICE,…]` for as
 * many as there are devices between the brackets.
 *
 * @throws FarmError `ERR_ARGUMENT` naming the pair that is not valid.
 *
 * @example
 * parseWorkerResources('GPU=[0,1] MEM=10e9');
 * // { amounts: [['GPU', 2], ['MEM', 10_000_000_000]], devices: [['GPU', ['0', '1']]] }
 */
export function parseWorkerResources(text: string): WorkerResources {
  const devices = new Map<string, readonly string[]>();
  const amounts = readPairs(text, text.match(/(?:\[[^\]]*\]|[^\s,])+/g) ?? [], (pair, value) => {
    if (!value.startsWith('[')) return parseAmount(pair, value);
    const names = parseDevices(pair, value);
    devices.set(pair.slice(0, pair.indexOf('=')), names);
    return names.length;
  });
  return { amounts, devices: [...devices] };
}

/**
 * Reads amounts by name: `NAME=AMOUNT` pairs between spaces or commas. An
 * amount is a number of at least 0 with up to four decimals.
 *
 * @throws FarmError `ERR_ARGUMENT` naming the pair that is not valid.
 *
 * @example
 * parseResources('GPU=2 MEM=10e9'); // [['GPU', 2], ['MEM', 10_000_000_000]]
 */
export function parseResources(text: string): ResourceAmounts {
  const pairs = text.split(/[\s,]+/).filter((pair) => pair !== '');
  return readPairs(text, pairs, parseAmount);
}

function readPairs(
  text: string,
  pairs: readonly string[],
  read: (pair: string, value: string) => number,
): ResourceAmounts {
  if (pairs.length === 0) throw refusal(text, 'names no resource, write for example GPU=1');
  const amounts = new Map<string, number>();
  for (const pair of pairs) {
    const [name, value] = splitPair(pair);
    const amount = read(pair, value);
    if (amounts.has(name)) throw refusal(pair, `gives ${quote(name)} a second time`);
    amounts.set(name, amount);
  }
  return [...amounts];
}

function splitPair(pair: string): readonly [name: string, value: string] {
  const separator = pair.indexOf('=');
  if (separator === -1) {
    throw refusal(pair, 'is not NAME=AMOUNT (without spaces around =), for example GPU=1');
  }
  const name = pair.slice(0, separator);
  if (name === '') throw refusal(pair, `has no name before the =, ${example(pair)}`);
  const flag = RESERVED.get(name);
  if (flag !== undefined) {
    throw refusal(pair, `${quote(name)} is reserved, use ${flag}`);
  }
  return [name, pair.slice(separator + 1)];
}

function parseAmount(pair: string, value: string): number {
  const amount = parseDecimal(value);
  if (amount === undefined) throw refusal(pair, `amount must be a number, ${example(pair)}`);
  if (amount < 0) throw refusal(pair, `amount must not be negative, ${example(pair)}`);
  if (amount > Number.MAX_SAFE_INTEGER) throw refusal(pair, 'amount is too large');
  if (!hasFourDecimals(amount)) throw refusal(pair, 'amount has more than four decimals');
  return amount === 0 ? 0 : amount; // -0 is 0
}

function parseDevices(pair: string, value: string): readonly string[] {
  const inside = /^\[([^[\]]*)\]$/.exec(value)?.[1];
  if (inside === undefined) throw refusal(pair, 'devices are named as in GPU=[0,1]');
  const devices = inside.split(/[\s,]+/).filter((device) => device !== '');
  if (devices.length === 0) throw refusal(pair, 'names no device, write for example GPU=[0,1]');
  const { devicesMax } = LIMITS;
  if (devices.length > devicesMax) throw refusal(pair, `more than ${devicesMax} devices`);
  for (const [index, device] of devices.entries()) {
    if (!/^[\w./:-]+$/.test(device) || device.length > DEVICE_LENGTH_MAX) {
      throw refusal(pair, `${quote(device)} is no name of a device, as 0 or GPU-8f0c or MIG-41ab`);
    }
    if (devices.indexOf(device) < index) throw refusal(pair, `names device ${device} twice`);
  }
  return devices;
}

function example(pair: string): string {
  const name = pair.slice(0, Math.max(0, pair.indexOf('=')));
  return `for example ${name === '' ? 'GPU' : name.slice(0, 40)}=1`;
}

function hasFourDecimals(amount: number): boolean {
  return Number.isInteger(amount) || Math.round(amount * FRACTION) / FRACTION === amount;
}

function refusal(token: string, problem: string): FarmError {
  return new FarmError('ERR_ARGUMENT', `${quote(token)}: ${problem}`);
}

import { createHash } from 'node:crypto';

import { FarmError, LIMITS, packU32 } from '@farm/protocol';
import { encodeValue } from '@farm/protocol/value';
import { nanoid } from 'nanoid';

import { Future, FutureBlock } from './future.ts';
import { checkOptionNames } from './option-names.ts';
import type { Session } from './session.ts';

/** How values are handed to workers. */
export interface ScatterOptions {
  /**
   * Names, addresses or hosts of the workers they may go to.
   * @default any
   */
  readonly workers?: string | readonly string[];
  /**
   * Copies of each: true for one on every worker, or a number.
   * @default false, one
   */
  readonly broadcast?: boolean | number;
  /**
   * Whether equal values share a key, and so are kept once. Without, each gets a key of its own.
   * @default true
   */
  readonly hash?: boolean;
  /**
   * Milliseconds to wait for a worker that can take them; then the futures fail with
   * `ERR_NO_WORKER`.
   * @default 30_000
   */
  readonly timeoutMs?: number;
}

interface Checked {
  readonly workers: readonly string[];
  readonly copies: number;
  readonly timeoutMs: number;
}

const NAMES: Readonly<Record<keyof ScatterOptions, true>> = {
  workers: true,
  broadcast: true,
  hash: true,
  timeoutMs: true,
};
const TIMEOUT_MS = 30_000;
const KEY_SUFFIX_LENGTH = 10;
/** Characters of a content hash in a key: 192 bits. */
const HASH_LENGTH = 32;

/**
 * Encodes values and hands them to the scheduler, which passes them on to workers.
 *
 * @throws FarmError `ERR_VALUE` where a value cannot travel, `ERR_LIMIT` where one is too large for
 *   a message, `ERR_ARGUMENT` naming an option that is not valid.
 */
export function scatter<T>(
  session: Session,
  values: readonly T[],
  options: ScatterOptions = {},
): Future<T>[] {
  session.assertOpen();
  const checked = check(options);
  const encoded = values.map((value, index) => encode(value, index));
  if (options.hash !== false) return encoded.map((bytes) => sendOne(session, bytes, checked));
  return sendAll(session, encoded, checked);
}

/** Names of workers as the wire has them. */
export function workerNames(option: string, workers: string | readonly string[] = []): string[] {
  const list: unknown = typeof workers === 'string' ? [workers] : workers;
  if (Array.isArray(list) && list.every((name) => typeof name === 'string' && name !== '')) {
    return list.map(String);
  }
  throw new FarmError('ERR_ARGUMENT', `${option} is not a list of names: ${String(workers)}`);
}

/** Copies as the wire has them: 0 for one on every worker. */
export function copyCount(option: string, copies: boolean | number): number {
  if (copies === true) return 0;
  if (copies === false) return 1;
  if (Number.isSafeInteger(copies) && copies >= 1) return copies;
  const problem = `${option} is neither true nor a whole number from 1 on`;
  throw new FarmError('ERR_ARGUMENT', `${problem}: ${String(copies)}`);
}

function check(options: ScatterOptions): Checked {
  checkOptionNames(options, NAMES, 'scatter');
  const { broadcast = false, hash = true, timeoutMs = TIMEOUT_MS } = options;
  if (typeof hash !== 'boolean') {
    throw new FarmError('ERR_ARGUMENT', `scatter: hash is not true or false: ${String(hash)}`);
  }
  if (!Number.isFinite(timeoutMs) || timeoutMs < 0) {
    const problem = 'scatter: timeoutMs is not a number of milliseconds from 0 on';
    throw new FarmError('ERR_ARGUMENT', `${problem}: ${String(timeoutMs)}`);
  }
  const workers = workerNames('scatter: workers', options.workers);
  return { workers, copies: copyCount('scatter: broadcast', broadcast), timeoutMs };
}

function encode(value: unknown, index: number): Uint8Array {
  const { bytes } = encodeValue(value, { what: `value ${index}`, futures: false });
  if (bytes.byteLength <= LIMITS.argumentsBytesMax) return bytes;
  throw new FarmError(
    'ERR_LIMIT',
    `scatter: value ${index} takes ${bytes.byteLength} bytes, at most ` +
      `${LIMITS.argumentsBytesMax} can be handed over in one piece: cut it, or make it in a task`,
  );
}

function sendOne<T>(session: Session, bytes: Uint8Array, checked: Checked): Future<T> {
  const key = `scatter-${createHash('sha256').update(bytes).digest('hex').slice(0, HASH_LENGTH)}`;
  const endsColumn = packU32([bytes.byteLength]);
  const head = { count: 1, key, indexFrom: null };
  const first = session.scatter({ ...head, values: bytes, endsColumn, ...checked });
  const block = new FutureBlock(session, key, null, first);
  session.releaseWith(block, first, 1);
  return new Future<T>(block, first);
}

/** As few messages as their size allows. */
function sendAll<T>(
  session: Session,
  encoded: readonly Uint8Array[],
  checked: Checked,
): Future<T>[] {
  const key = `scatter-${nanoid(KEY_SUFFIX_LENGTH)}`;
  const futures: Future<T>[] = [];
  let start = 0;
  while (start < encoded.length) {
    let end = start;
    let total = 0;
    for (let size = encoded[end]?.byteLength; size !== undefined; size = encoded[end]?.byteLength) {
      const isFull = total + size > LIMITS.blockBytesMax || end - start >= LIMITS.blockTasksMax;
      if (end > start && isFull) break;
      total += size;
      end += 1;
    }
    futures.push(
      ...sendBlock<T>(session, encoded.slice(start, end), { key, from: start }, checked),
    );
    start = end;
  }
  return futures;
}

function sendBlock<T>(
  session: Session,
  encoded: readonly Uint8Array[],
  { key, from }: { readonly key: string; readonly from: number },
  checked: Checked,
): Future<T>[] {
  const values = new Uint8Array(encoded.reduce((sum, { byteLength }) => sum + byteLength, 0));
  const ends: number[] = [];
  let end = 0;
  for (const bytes of encoded) {
    values.set(bytes, end);
    end += bytes.byteLength;
    ends.push(end);
  }
  const count = encoded.length;
  const endsColumn = packU32(ends);
  const first = session.scatter({ count, key, indexFrom: from, values, endsColumn, ...checked });
  const block = new FutureBlock(session, key, from, first);
  session.releaseWith(block, first, count);
  return encoded.map((_, index) => new Future<T>(block, first + index));
}

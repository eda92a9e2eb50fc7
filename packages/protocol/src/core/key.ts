import { FarmError } from './errors.ts';
import { LIMITS } from './limits.ts';

/** The key of task `index` of a block (see `Submit`). */
export function blockKey(key: string, indexFrom: number | null, index: number): string {
  return indexFrom === null ? key : `${key}-${indexFrom + index}`;
}

/**
 * Checks a key that a user chose.
 *
 * @throws FarmError `ERR_ARGUMENT` where it is empty, too long or not well-formed text.
 */
export function checkKey(key: string): void {
  if (key.length === 0) throw new FarmError('ERR_ARGUMENT', 'a key must not be empty');
  if (key.length > LIMITS.keyLengthMax) {
    throw new FarmError(
      'ERR_ARGUMENT',
      `a key may have ${LIMITS.keyLengthMax} characters, this one has ${key.length}: ` +
        `${key.slice(0, 40)}…`,
    );
  }
  if (!key.isWellFormed()) {
    throw new FarmError('ERR_ARGUMENT', `a key must be well-formed text: ${JSON.stringify(key)}`);
  }
}

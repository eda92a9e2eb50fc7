import { blockKey } from '@farm/protocol/core';

/** How the keys of a block are made; see `blockKey`. */
export interface Naming {
  readonly key: string;
  /** Null for a block of one whose key is `key` itself. */
  readonly indexFrom: number | null;
  readonly count: number;
}

/** The key of task `index` of the block. */
export function nameAt(naming: Naming, index: number): string {
  return blockKey(naming.key, naming.indexFrom, index);
}

/** Which task of the block has this key; null for none. */
export function indexOfKey(naming: Naming, key: string): number | null {
  if (naming.indexFrom === null) return naming.key === key ? 0 : null;
  const parts = splitKey(key);
  if (parts === null || parts.prefix !== naming.key) return null;
  const index = parts.number - naming.indexFrom;
  return index >= 0 && index < naming.count ? index : null;
}

/** `sum-12` is task 12 of `sum`; null where a key does not end that way. */
export function splitKey(key: string): { readonly prefix: string; readonly number: number } | null {
  const dash = key.lastIndexOf('-');
  const digits = key.slice(dash + 1);
  // No leading zeros: one task has one key.
  if (dash < 0 || !/^(0|[1-9]\d{0,15})$/.test(digits)) return null;
  return { prefix: key.slice(0, dash), number: Number(digits) };
}

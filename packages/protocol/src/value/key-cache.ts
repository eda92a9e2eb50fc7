const SLOTS = 512;
const slots: string[] = Array.from({ length: SLOTS }, () => '');

/**
 * A string of one-byte units, from a small cache of recent ones. For property names: a list of
 * records has the same few again and again, and a cached one need not be built and interned.
 */
export function cachedKey(bytes: Uint8Array, start: number, length: number): string {
  let hash = length;
  for (let index = start; index < start + length; index++) {
    hash = (hash * 31 + (bytes[index] ?? 0)) | 0;
  }
  const slot = hash & (SLOTS - 1);
  const known = slots[slot] ?? '';
  if (known.length === length && holds(bytes, start, known)) return known;
  const key = shortText(bytes, start, length);
  slots[slot] = key;
  return key;
}

/** A short string of one-byte units, built without leaving JavaScript. */
export function shortText(bytes: Uint8Array, start: number, length: number): string {
  let text = '';
  for (let index = start; index < start + length; index++) {
    text += String.fromCharCode(bytes[index] ?? 0);
  }
  return text;
}

function holds(bytes: Uint8Array, start: number, text: string): boolean {
  for (let index = 0; index < text.length; index++) {
    if (bytes[start + index] !== text.charCodeAt(index)) return false;
  }
  return true;
}

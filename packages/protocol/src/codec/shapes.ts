import { SAMPLE_MESSAGES } from './samples.ts';

/** Records with a one-byte id on the wire; a shape past the last one travels with its keys. */
const SHAPES_MAX = 32;

/**
 * The static table of shapes of this protocol version: the key sequences of all messages and of
 * the records inside them, in order of first appearance in the samples. A record on the wire is
 * the index of its shape and its values, so both ends must have the same table: whatever changes
 * it needs another PROTOCOL_VERSION.
 */
export const SHAPES: readonly (readonly string[])[] = shapesIn(SAMPLE_MESSAGES).slice(
  0,
  SHAPES_MAX,
);

/** The distinct key sequences of all plain records in a value, outer ones first. */
export function shapesIn(value: unknown): readonly (readonly string[])[] {
  const seen = new Map<string, readonly string[]>();
  const visit = (part: unknown): void => {
    if (typeof part !== 'object' || part === null || part instanceof Uint8Array) return;
    if (!Array.isArray(part)) {
      const keys = Object.keys(part);
      const name = JSON.stringify(keys);
      if (!seen.has(name)) seen.set(name, keys);
    }
    for (const inner of Object.values(part)) visit(inner);
  };
  visit(value);
  return [...seen.values()];
}

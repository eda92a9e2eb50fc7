import { expect } from 'vitest';

/** Matches text that holds `part`. */
export function containing(part: string): unknown {
  return expect.stringContaining(part);
}

/** Matches text by a pattern. */
export function matching(pattern: string | RegExp): unknown {
  return expect.stringMatching(pattern);
}

/** Matches an error by its code, and by its message where a part of that is given. */
export function errorWith(code: string, part: string = ''): unknown {
  return expect.objectContaining({ code, message: containing(part) });
}

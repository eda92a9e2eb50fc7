/**
 * The pure part of the protocol: what cores may import. Messages, errors, limits, keys.
 *
 * @module
 */
export { FarmError, invariant } from './errors.ts';
export type { ErrorCode, FarmErrorOptions } from './errors.ts';
export { formatDuration } from './format-duration.ts';
export { blockKey, checkKey } from './key.ts';
export { LIMITS } from './limits.ts';
export { Replay } from './replay.ts';
export { packU32, u32At, u32Count } from './u32-column.ts';
export * from './messages.ts';

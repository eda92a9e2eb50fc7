import { FarmError } from '../core/index.ts';
import type { ErrorCode } from '../core/index.ts';

/** WebSocket close codes (RFC 6455, 7.4.1) this protocol gives a meaning. */
export const CLOSE_CODES = { normal: 1000, goingAway: 1001, policy: 1008 } as const;

/** RFC 6455: a control frame has 125 bytes, two of them the code. */
const REASON_BYTES_MAX = 123;

/**
 * Packs an error into the reason of a close frame: `ERR_LIMIT: …`, cut to the 123 bytes there are.
 */
export function closeReason(why: FarmError): string {
  const full = Buffer.from(`${why.code}: ${why.message}`);
  if (full.byteLength <= REASON_BYTES_MAX) return full.toString();
  // Cut at the start of a character: a continuation byte is 10xxxxxx.
  let end = REASON_BYTES_MAX;
  while (((full[end] ?? 0) & 0xc0) === 0x80) end--;
  return full.subarray(0, end).toString();
}

/**
 * Says in a {@link FarmError} why the peer closed the connection.
 *
 * @param peer - The peer for humans.
 * @param code - The close code that arrived; 1006 where none did.
 * @param reason - The text that came with it.
 */
export function peerClosed(peer: string, code: number, reason: string): FarmError {
  const [, told, message] = /^(ERR_[A-Z_]+): (.*)$/s.exec(reason) ?? [];
  if (told !== undefined && message !== undefined && isTold(told)) {
    return new FarmError(told, `${peer} ended the connection: ${message}`);
  }
  if (code === 1009) {
    return new FarmError('ERR_LIMIT', `${peer} ended the connection: a frame was too large`);
  }
  if (code === 1002 || code === 1003 || code === 1007 || code === CLOSE_CODES.policy) {
    const why = reason === '' ? `close code ${code}` : reason;
    return new FarmError('ERR_PROTOCOL', `${peer} ended the connection: ${why}`);
  }
  const how = code === 1006 ? 'was lost: its socket closed' : 'was closed by the peer';
  return new FarmError('ERR_CONNECTION_LOST', `the connection to ${peer} ${how}`);
}

const TOLD: ReadonlySet<string> = new Set<ErrorCode>([
  'ERR_PROTOCOL',
  'ERR_LIMIT',
  'ERR_VERSION',
  'ERR_UNAUTHORIZED',
  'ERR_CONNECTION_LOST',
  'ERR_CLOSED',
]);

function isTold(code: string): code is ErrorCode {
  return TOLD.has(code);
}

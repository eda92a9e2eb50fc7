import { FarmError } from '../core/index.ts';
import { formatDuration } from '../core/format-duration.ts';
import { parseDuration } from '../units.ts';

/** Below, a peer with a busy garbage collector would count as silent. */
const TIMEOUT_MS_MIN = 500;
const TIMEOUT_MS_MAX = 3_600_000;

/**
 * Reads after how long a silent peer has lost its connection.
 *
 * @returns Milliseconds.
 * @throws FarmError `ERR_ARGUMENT` where it is no duration from half a second to an hour.
 *
 * @example
 * parseHeartbeatTimeout('2s'); // 2_000
 */
export function parseHeartbeatTimeout(text: string): number {
  const timeoutMs = parseDuration(text);
  if (timeoutMs >= TIMEOUT_MS_MIN && timeoutMs <= TIMEOUT_MS_MAX) return timeoutMs;
  throw new FarmError(
    'ERR_ARGUMENT',
    `a heartbeat timeout is from ${formatDuration(TIMEOUT_MS_MIN)} to ` +
      `${formatDuration(TIMEOUT_MS_MAX)}, not ${JSON.stringify(text)}`,
  );
}

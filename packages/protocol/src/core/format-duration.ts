/**
 * Prints a duration given in milliseconds with the unit that reads best, as Dask prints it.
 *
 * @example
 * formatDuration(1_500); // '1.50 s'
 * formatDuration(754_000); // '12m 34s'
 * formatDuration(0.25); // '250.00 us'
 */
export function formatDuration(durationMs: number): string {
  const seconds = durationMs / 1_000;
  if (seconds > 2 * 86_400) {
    return `${Math.floor(seconds / 86_400)}d ${Math.floor((seconds % 86_400) / 3_600)}h`;
  }
  if (seconds > 2 * 3_600) {
    return `${Math.floor(seconds / 3_600)}h ${Math.floor((seconds % 3_600) / 60)}m`;
  }
  if (seconds > 600) return `${Math.floor(seconds / 60)}m ${Math.floor(seconds % 60)}s`;
  if (seconds >= 1) return `${seconds.toFixed(2)} s`;
  if (durationMs >= 1) return `${durationMs.toFixed(2)} ms`;
  return `${(durationMs * 1_000).toFixed(2)} us`;
}

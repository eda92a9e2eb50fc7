import type { TaskState } from './state.ts';
import type { Tables } from './tables.ts';

/** How long it takes to bring a result to a worker that has it not. */
export function transferUs({ config }: Tables, { size, valueAt }: TaskState): number {
  const bytesUs = (size * 1_000_000) / config.bandwidthBytesPerS;
  // Kept values come along with the run.
  return valueAt >= 0 ? bytesUs : bytesUs + config.transferLatencyMs * 1_000;
}

import { failure, formatBytes, type Failure } from '@farm/protocol';

/** A task took more memory than it asked for. */
export function memoryExceeded(task: {
  readonly key: string;
  readonly workerName: string;
  readonly limitBytes: number;
  /** The most that was seen: with a control group, no more than the limit. */
  readonly peakBytes: number;
}): Failure {
  const { key, workerName, limitBytes, peakBytes } = task;
  const limit = formatBytes(limitBytes);
  const took =
    peakBytes > limitBytes
      ? `took ${formatBytes(peakBytes)} of memory, more than`
      : `took ${formatBytes(peakBytes)} of memory and tried to take more than`;
  const message = `${key}: ${took} the ${limit} it asked for with memory: ask for more, or let it take less`;
  return failure('ERR_MEMORY_LIMIT', message, key, workerName, null, 'MemoryLimitExceeded');
}

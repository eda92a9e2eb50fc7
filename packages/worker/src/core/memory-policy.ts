/** Parts of a worker's memory limit at which something is done. 0 means never. */
export interface MemoryFractions {
  /** Results in memory above it are spilled. @default 0.6 */
  readonly target: number;
  /** Resident memory above it: results are spilled until it is below `target`. @default 0.7 */
  readonly spill: number;
  /** Resident memory above it: the worker takes no tasks. @default 0.8 */
  readonly pause: number;
  /** Resident memory above it: the nanny kills the worker. @default 0.95 */
  readonly terminate: number;
}

/** Dask's `distributed.worker.memory` defaults. */
export const MEMORY_FRACTIONS: MemoryFractions = {
  target: 0.6,
  spill: 0.7,
  pause: 0.8,
  terminate: 0.95,
};

/** A paused worker resumes below this part of what made it pause, so that it does not flutter. */
const RESUME_PART = 0.9;

/** Bytes at which a worker does something about its memory; Infinity for never. */
export interface MemoryPolicy {
  readonly limitBytes: number;
  readonly targetBytes: number;
  readonly spillBytes: number;
  /** Where spilling for the sake of resident memory ends. */
  readonly enoughBytes: number;
  readonly pauseBytes: number;
  readonly resumeBytes: number;
  /** The nanny kills a worker that takes more. */
  readonly terminateBytes: number;
}

/** What a worker with this limit does when; null where it has none. */
export function memoryPolicy(
  limitBytes: number | null,
  fractions: MemoryFractions = MEMORY_FRACTIONS,
): MemoryPolicy | null {
  if (limitBytes === null) return null;
  const bytesOf = (fraction: number): number => (fraction === 0 ? Infinity : fraction * limitBytes);
  const { target, spill, pause, terminate } = fractions;
  return {
    limitBytes,
    targetBytes: bytesOf(target),
    spillBytes: bytesOf(spill),
    enoughBytes: Math.min(bytesOf(target), bytesOf(spill)),
    pauseBytes: bytesOf(pause),
    resumeBytes: bytesOf(pause) * RESUME_PART,
    terminateBytes: bytesOf(terminate),
  };
}

/** For humans. */
export function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

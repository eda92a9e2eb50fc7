import { affinityCount, systemMemoryBytes } from '@farm/protocol/command-line';

/** What this process may use of its machine. */
export interface Allocation {
  /** At least 1. */
  readonly cores: number;
  readonly memoryBytes: number;
}

const MEBIBYTE = 1_048_576;

/**
 * What this process may use: its affinity mask and control groups say, and under Slurm also
 * SLURM_CPUS_PER_TASK and SLURM_MEM_PER_NODE, since not every cluster enforces them.
 */
export function readAllocation(
  env: Readonly<Record<string, string | undefined>> = process.env,
): Allocation {
  const cpus = wholeNumber(env['SLURM_CPUS_PER_TASK']);
  const memoryMebibytes = wholeNumber(env['SLURM_MEM_PER_NODE']);
  return {
    cores: Math.min(affinityCount(), cpus ?? Infinity),
    memoryBytes: Math.min(systemMemoryBytes(), (memoryMebibytes ?? Infinity) * MEBIBYTE),
  };
}

/** A whole number of at least 1; undefined for anything else, such as Slurm's 0 for "all". */
function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,14}$/.test(text) ? Number(text) : undefined;
}

/** How much memory a worker with a limit takes, and what its disk is like. */
import { mix, Random } from './prng.ts';
import type { ClientOp, WorkerPlan } from './scenario.ts';
import { SPILLABLE_BYTES } from './simulated-store.ts';

/** How often a worker with a limit looks at its memory, as in production. */
export const SAMPLE_MS = 200;

/** What is wrong with the memory and the disk of a worker's machine, for as long as it is. */
export class WorkerMemory {
  readonly #limitBytes: number;
  readonly #random: Random;
  /** Part of the limit that something takes which no spilling frees. */
  pressure = 0;
  isDiskFull = false;

  constructor(seed: number, name: string, limitBytes: number) {
    this.#limitBytes = limitBytes;
    this.#random = new Random(mix(seed, 'memory', name));
  }

  /** Resident bytes of a process that keeps so many bytes of values in memory. */
  sample(keptBytes: number): number {
    const engine = this.#random.between(0.02, 0.1);
    return Math.round(keptBytes + this.#limitBytes * (engine + this.pressure));
  }

  /** How long a value that is given up stays in memory, since it is being sent: mostly it is not. */
  departsMs(): number {
    return this.#random.chance(0.7) ? 0 : this.#random.spread(1, 20_000);
  }

  /** How long a file takes to be written or read. */
  transferMs(): number {
    return this.#random.spread(0.1, 300);
  }
}

/**
 * In some seeds, some workers have a memory limit. Values that are too small to be spilled fit in
 * beside any large one, so that a worker never stands still for want of room.
 */
export function withMemoryLimits(
  seed: number,
  workers: readonly WorkerPlan[],
  ops: readonly ClientOp[],
): readonly WorkerPlan[] {
  const random = new Random(mix(seed, 'memory-limits'));
  let smallBytes = 0;
  let spillableBytes = 0;
  let largestBytes = 0;
  for (const { action } of ops) {
    for (const { sizeBytes } of 'tasks' in action ? action.tasks : []) {
      if (sizeBytes < SPILLABLE_BYTES) smallBytes += sizeBytes;
      else spillableBytes += sizeBytes;
      largestBytes = Math.max(largestBytes, sizeBytes);
    }
  }
  return workers.map((worker) => {
    const share = random.spread(0.005, 0.5);
    const largest = random.pick([1.3, 3]) * largestBytes;
    if (random.chance(0.15)) return worker;
    const memoryLimitBytes = Math.ceil(2 * smallBytes + largest + share * spillableBytes);
    return { ...worker, memoryLimitBytes };
  });
}

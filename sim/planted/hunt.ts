import { loadCores } from '../cores.ts';
import { makeScenario } from '../make-scenario.ts';
import type { Profile } from '../make-scenario.ts';
import { runScenario } from '../run.ts';
import type { PlantedBug } from './bugs.ts';
import { plant } from './plant.ts';

/** How a hunt for a bug ended. */
export interface Hunt {
  readonly bug: PlantedBug;
  /** Seeds that were run. */
  readonly seeds: number;
  /** What found it; null where nothing did. */
  readonly found: {
    readonly seed: number;
    readonly checker: string;
    readonly message: string;
  } | null;
}

/** Runs seeds on cores with a bug until one fails. `nowMs` is a clock that `limits.ms` bounds. */
export async function hunt(
  bug: PlantedBug,
  limits: { readonly seeds: number; readonly ms: number; readonly firstSeed: number },
  profile: Profile,
  nowMs: () => number,
): Promise<Hunt> {
  using copy = plant(bug);
  const cores = await loadCores(copy.root);
  const deadlineMs = nowMs() + limits.ms;
  let seeds = 0;
  while (seeds < limits.seeds && nowMs() < deadlineMs) {
    const seed = limits.firstSeed + seeds;
    seeds += 1;
    const { failure } = runScenario(makeScenario(seed, profile), cores);
    if (failure !== null) {
      const { checker, message } = failure;
      return { bug, seeds, found: { seed, checker, message } };
    }
  }
  return { bug, seeds, found: null };
}

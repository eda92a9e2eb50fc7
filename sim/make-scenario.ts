import { taskOptions } from '@farm/protocol/core';

import { FAULT_KINDS, makeFaults, MEMORY_FAULTS } from './faults.ts';
import { GROWTH_FEATURE, withGrowingMemory } from './growing-memory.ts';
import { mix, Random } from './prng.ts';
import type {
  ClientOp,
  ClientPlan,
  FaultKind,
  Scenario,
  Settings,
  WorkerPlan,
} from './scenario.ts';
import { withMemoryLimits } from './worker-memory.ts';
import { makeWorkload } from './workload/workload.ts';
import { MEMORY_FEATURE, WORKLOAD_FEATURES } from './workload/workload-options.ts';

/** How large the scenarios of a run are. */
export interface Profile {
  readonly workersMax: number;
  readonly tasksMax: number;
}

/** The one the commit gate uses: many small ones find more than few large ones. */
export const SMALL: Profile = { workersMax: 4, tasksMax: 300 };
/** For the night. */
export const LARGE: Profile = { workersMax: 32, tasksMax: 5_000 };

/**
 * Draws everything a seed decides. Swarm testing (Groce et al., ISSTA 2012): each seed has only
 * some of the faults and features, so that rare combinations are not drowned by common ones.
 */
export function makeScenario(seed: number, profile: Profile = SMALL): Scenario {
  const random = new Random(mix(seed, 'scenario'));
  const features = new Set<string>(random.some(WORKLOAD_FEATURES, random.between(0.1, 0.7)));
  // SAFE: the keys of a record by kind are kinds.
  const all = Object.keys(FAULT_KINDS) as FaultKind[];
  const isCalm = random.chance(0.1);
  const usual = all.filter((kind) => !MEMORY_FAULTS.has(kind));
  const kinds = new Set(isCalm ? [] : random.some(usual, random.between(0.05, 0.5)));
  const settings = makeSettings(random);
  let workers: readonly WorkerPlan[] = makeWorkers(random, profile, settings);
  const hasWeights = random.chance(0.2);
  const clients: ClientPlan[] = Array.from({ length: random.pick([1, 1, 2, 3]) }, (_, index) => {
    return {
      name: `client-${index}`,
      connectAtMs: index === 0 ? 0 : random.spread(1, 1_000),
      weight: hasWeights && random.chance(0.7) ? random.pick([0.5, 1, 3]) : null,
    };
  });
  const options = { workers: workers.length, clients: clients.length, untilMs: settings.faultsMs };
  const memory = new Random(mix(seed, 'memory'));
  const isMemoryShort = memory.chance(0.25);
  if (isMemoryShort) {
    features.add(MEMORY_FEATURE);
    if (!isCalm) for (const kind of memory.some([...MEMORY_FAULTS], 0.6)) kinds.add(kind);
  }
  let ops = withSpeculation(
    seed,
    makeWorkload(new Random(mix(seed, 'workload')), {
      tasks: Math.ceil(random.spread(2, profile.tasksMax)),
      clients: clients.length,
      untilMs: settings.faultsMs * random.between(0.01, 0.8),
      workers,
      features,
    }),
  );
  if (isMemoryShort) workers = withMemoryLimits(seed, workers, ops);
  if (new Random(mix(seed, 'growth')).chance(0.15)) {
    features.add(GROWTH_FEATURE);
    ops = withGrowingMemory(seed, workers, ops);
  }
  return {
    seed,
    settings: {
      ...settings,
      features: [...settings.features, ...features, ...(hasWeights ? ['weights'] : [])],
    },
    workers,
    clients,
    ops,
    faults: makeFaults(new Random(mix(seed, 'faults')), { kinds, ...options }),
  };
}

/** In some seeds, slow tasks may be started a second time. */
function withSpeculation(seed: number, ops: readonly ClientOp[]): readonly ClientOp[] {
  const random = new Random(mix(seed, 'speculation'));
  if (!random.chance(0.12)) return ops;
  return ops.map((op) => {
    const { action } = op;
    if (action.kind !== 'submit' || !action.options.rerunOnLoss || random.chance(0.3)) return op;
    const options = taskOptions({ ...action.options, speculate: [1.5, 1] });
    return { ...op, action: { ...action, options } };
  });
}

function makeSettings(random: Random): Settings {
  const features: string[] = [];
  const odd = (name: string, probability: number): boolean => {
    const isOn = random.chance(probability);
    if (isOn) features.push(name);
    return isOn;
  };
  const slowestMs = random.spread(0.1, 100);
  return {
    faultsMs: random.spread(20, 20_000),
    delayMs: [0.05, slowestMs],
    jitter: random.chance(0.5) ? 0 : 0.1,
    loopMs: random.pick([0, 0.05, 1, 10]),
    codecShare: odd('codec-for-all', 0.15) ? 1 : 0.05,
    chunkBytes: random.pick([4_096, 16_384, 1_048_576]),
    allowedFailures: odd('no-failures-allowed', 0.15) ? 0 : random.pick([1, 3]),
    inlineTotalBytesMax: odd('no-inline-budget', 0.2)
      ? 0
      : odd('small-inline-budget', 0.2)
        ? 400
        : 67_108_864,
    prefetchTasksMax: odd('tiny-prefetch', 0.2) ? 1 : 4_096,
    prefetchTargetMs: odd('no-prefetch', 0.1) ? 0 : odd('large-prefetch', 0.2) ? 500 : 20,
    reserveAfterMs: random.pick([0, 50, 1_000]),
    ...(odd('eager-stealing', 0.25)
      ? { stealIntervalMs: random.pick([0, 5]), stealCostMs: 0.1, stealAgainMs: 50 }
      : { stealIntervalMs: 100, stealCostMs: 20, stealAgainMs: 10_000 }),
    longTaskMs: odd('all-long', 0.1) ? 1 : 200,
    surplusAfterMs: random.pick([20, 2_000]),
    bandwidthBytesPerS: odd('little-bandwidth', 0.2) ? 100_000 : 100_000_000,
    leaseMs: random.pick([200, 2_000, 10_000]),
    stragglerShare: odd('stragglers', 0.3) ? 0.4 : 0.03,
    slowStopShare: odd('slow-stops', 0.3) ? 0.6 : 0.1,
    features,
  };
}

function makeWorkers(random: Random, profile: Profile, settings: Settings): WorkerPlan[] {
  const count = 1 + random.below(profile.workersMax);
  const isOneSlot = random.chance(0.25);
  const areLate = random.chance(0.2);
  const areHidden = random.chance(0.2);
  const hosts = random.chance(0.5) ? count : 1 + random.below(count);
  return Array.from({ length: count }, (_, index) => {
    const resources: (readonly [string, number])[] = [];
    if (random.chance(0.5)) resources.push(['GPU', 1 + random.below(2)]);
    if (random.chance(0.3)) resources.push(['MEM', 16]);
    return {
      id: `w${index}`,
      name: `worker-${index}`,
      host: `host-${index % hosts}`,
      nthreads: isOneSlot ? 1 : 1 + random.below(4),
      resources,
      joinAtMs: areLate || random.chance(0.2) ? random.between(0, settings.faultsMs) : 0,
      isReachable: !areHidden,
      memoryLimitBytes: null,
    };
  });
}

/** What clients do besides tasks: leases, queues, and workers that are to retire. */
import type { Random } from '../prng.ts';
import type { ClientAction, WorkerPlan } from '../scenario.ts';
import type { DrawnOp } from './drawn-op.ts';

/** What these are drawn from. */
export interface SharedWorkOptions {
  readonly clients: number;
  readonly untilMs: number;
  readonly workers: readonly WorkerPlan[];
}

/** Locks and semaphores that clients want at about the same time, and hold for a while. */
export function drawLeases(random: Random, { clients, untilMs }: SharedWorkOptions): DrawnOp[] {
  return Array.from({ length: 2 + random.below(20) }, () => {
    const leasesMax = random.pick([1, 1, 2, 3]);
    const action = {
      kind: 'lease',
      name: `shared-${leasesMax}-${random.below(2)}`,
      leasesMax,
      holdMs: random.spread(0.1, 2_000),
      timeoutMs: random.chance(0.5) ? null : random.pick([0, 20, 1_000]),
    } as const;
    return { atMs: random.between(0, untilMs), client: random.below(clients), action };
  });
}

/** Items that some clients put into queues and others get. */
export function drawQueues(random: Random, { clients, untilMs }: SharedWorkOptions): DrawnOp[] {
  return Array.from({ length: 4 + random.below(30) }, () => {
    // A queue has one bound for all who put something there.
    const queue = random.below(2);
    const name = `queue-${queue}`;
    const timeoutMs = random.pick([0, 50, 3_000]);
    const action: ClientAction = random.chance(0.5)
      ? { kind: 'put', name, sizeMax: queue === 0 ? 2 : null, timeoutMs }
      : { kind: 'get', name, max: 1 + random.below(3), timeoutMs };
    return { atMs: random.between(0, untilMs), client: random.below(clients), action };
  });
}

/** Workers that are to go, by name or by number, while others come and go for other reasons. */
export function drawRetirements(
  random: Random,
  { clients, untilMs, workers }: SharedWorkOptions,
): DrawnOp[] {
  return Array.from({ length: 1 + random.below(4) }, () => {
    const worker = random.chance(0.7) ? random.pick(workers).name : null;
    const action = {
      kind: 'retire',
      worker,
      count: 1 + random.below(2),
      // One that stays gets no tasks any more: it must not be the one that can run anything.
      close: worker === null || random.chance(0.7),
      timeoutMs: random.pick([0, 100, 2_000, 60_000]),
    } as const;
    return { atMs: random.between(0, untilMs), client: random.below(clients), action };
  });
}

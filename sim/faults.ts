/** What goes wrong. Each seed draws some kinds, and how often each happens. */
import type { Random } from './prng.ts';
import type { Fault, FaultAction, FaultKind } from './scenario.ts';

/** What faults are drawn from. */
export interface FaultOptions {
  readonly kinds: ReadonlySet<FaultKind>;
  readonly workers: number;
  readonly clients: number;
  readonly untilMs: number;
}

/** Every kind, with about how often it happens in a seed that has it. */
export const FAULT_KINDS: Readonly<Record<FaultKind, number>> = {
  crash: 3,
  'crash-all': 1,
  pause: 2,
  'silent-death': 1,
  'drop-link': 3,
  'link-drop-resume': 4,
  'lease-expiry': 2,
  'client-drop-resume': 2,
  'client-lease-expiry': 1,
  'cut-link': 2,
  partition: 3,
  delay: 2,
  'slow-consumer': 2,
  storm: 1,
  leave: 2,
  'duplicate-name': 2,
  stall: 2,
  'freeze-all': 1,
  'clock-jump': 1,
  'client-vanishes': 1,
  'client-closes': 1,
  'slow-client': 1,
  'memory-pressure': 4,
  'disk-full': 2,
  'spill-files-lost': 3,
};

/** Those that mean something only where workers have a memory limit. */
export const MEMORY_FAULTS: ReadonlySet<FaultKind> = new Set<FaultKind>([
  'memory-pressure',
  'disk-full',
  'spill-files-lost',
]);

/** Draws the faults of a seed, in order of time. */
export function makeFaults(random: Random, options: FaultOptions): readonly Fault[] {
  const drawn: { atMs: number; action: FaultAction }[] = [];
  for (const kind of options.kinds) {
    const count = 1 + random.below(2 * FAULT_KINDS[kind]);
    for (let i = 0; i < count; i++) {
      drawn.push({ atMs: random.between(0, options.untilMs), action: draw(kind, random, options) });
    }
  }
  return drawn
    .toSorted((a, b) => a.atMs - b.atMs)
    .map(({ atMs, action }, index) => ({ id: `f${index}`, atMs, action }));
}

function draw(kind: FaultKind, random: Random, options: FaultOptions): FaultAction {
  const worker = random.below(options.workers);
  const client = random.below(options.clients);
  const restartMs = random.spread(5, 5_000);
  const forMs = random.spread(1, 3_000);
  // Some last longer than silence is borne.
  const longMs = random.chance(0.3) ? random.between(14_000, 40_000) : forMs;
  const factor = random.spread(2, 200);
  switch (kind) {
    case 'crash':
    case 'silent-death':
      return { kind, worker, restartMs: random.chance(0.8) ? restartMs : null };
    case 'crash-all':
      return { kind, restartMs };
    case 'pause':
    case 'cut-link':
      return { kind, worker, forMs: longMs };
    case 'link-drop-resume':
      return { kind, worker, forMs };
    case 'lease-expiry':
      return { kind, worker, beyondMs: forMs };
    case 'client-drop-resume':
      return { kind, client, forMs };
    case 'client-lease-expiry':
      return { kind, client, beyondMs: forMs };
    case 'drop-link':
    case 'duplicate-name':
      return { kind, worker };
    case 'partition':
      return { kind, a: worker, b: random.below(options.workers), forMs: longMs };
    case 'delay':
      return { kind, factor: random.spread(2, 50), forMs };
    case 'slow-consumer':
      return { kind, worker, isInbound: random.chance(0.5), factor, forMs };
    case 'storm':
      return { kind, workers: 2 + random.below(6), forMs };
    case 'leave':
      return {
        kind,
        worker,
        graceMs: random.chance(0.6) ? random.spread(5, 20_000) : null,
        rejoinMs: random.chance(0.7) ? restartMs : null,
      };
    case 'stall':
      return { kind, forMs: random.spread(10, 8_000) };
    case 'freeze-all':
      return { kind, forMs: longMs };
    case 'clock-jump':
      return { kind, byMs: (random.chance(0.5) ? 1 : -1) * random.spread(1, 3_600_000) };
    case 'client-vanishes':
    case 'client-closes':
      return { kind, client };
    case 'slow-client':
      return { kind, client, factor, forMs };
    case 'memory-pressure':
      return { kind, worker, part: random.between(0.3, 1.1), forMs: longMs };
    case 'disk-full':
      return { kind, worker, forMs: longMs };
    case 'spill-files-lost':
      return { kind, worker };
  }
}

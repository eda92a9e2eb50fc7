import type { Random } from '../prng.ts';
import type { DrawnOp } from './drawn-op.ts';
import type { Submissions } from './submissions.ts';
import type { Feature, WorkloadOptions } from './workload-options.ts';

/** Draws what clients do with the futures they have, once all tasks are drawn. */
export class FutureUses {
  readonly #random: Random;
  readonly #options: WorkloadOptions;
  readonly #submissions: Submissions;
  /** When a future is named last. */
  readonly #uses: ReadonlyMap<number, number>;

  constructor(random: Random, options: WorkloadOptions, submissions: Submissions) {
    this.#random = random;
    this.#options = options;
    this.#submissions = submissions;
    this.#uses = lastUses(submissions.ops);
  }

  /** What clients do with the futures they have. */
  draw(): void {
    const random = this.#random;
    const submissions = this.#submissions;
    const submits = submissions.ops.flatMap((op) =>
      op.action.kind === 'submit' ? [{ ...op, action: op.action }] : [],
    );
    const { untilMs } = this.#options;
    for (const { atMs, client, action } of submits) {
      const refs = action.tasks.map(({ ref }) => ref);
      const later = (): number => atMs + random.spread(0.05, untilMs);
      if (this.#has('release') && random.chance(0.35)) {
        const some = random.chance(0.5) ? refs : random.some(refs, 0.5);
        let whenMs = later();
        // Whoever submits with a released future is told; most seeds keep to the rules.
        if (!this.#has('foreign-futures')) whenMs = Math.max(whenMs, this.#lastUse(some));
        if (some.length > 0) submissions.add(whenMs, client, { kind: 'release', refs: some });
      }
      if (this.#has('cancel') && random.chance(0.1)) {
        submissions.add(later(), client, { kind: 'cancel', refs: random.some(refs, 0.6) });
      }
      if (this.#has('client-retry') && random.chance(0.3)) {
        submissions.add(later(), client, { kind: 'retry', refs });
      }
      if (this.#has('copies') && random.chance(0.4)) {
        const copies = random.pick([null, 0, 1, 2, 3]);
        submissions.add(later(), client, { kind: 'copy', refs, copies });
      }
      if (this.#has('gather') && random.chance(0.3)) {
        submissions.add(later(), client, { kind: 'gather', refs });
      }
      if (this.#has('questions') && random.chance(0.2)) {
        const method = random.pick([
          'scheduler-info',
          'wait-for-workers',
          'explain',
          'story',
        ] as const);
        submissions.add(later(), client, { kind: 'ask', method, ref: random.pick(refs) });
      }
      if (this.#has('flip-flop') && random.chance(0.3)) this.#flipFlop(later(), random.pick(refs));
      if (this.#has('shared-keys') && this.#options.clients > 1 && random.chance(0.3)) {
        const closure = this.#closure(random.pick(refs));
        if (closure !== null) {
          const other = (client + 1) % this.#options.clients;
          submissions.add(later(), other, { kind: 'share', refs: closure });
        }
      }
    }
  }

  /** A task is given up and wanted again, several times in a short while. */
  #flipFlop(startMs: number, ref: number): void {
    const random = this.#random;
    const submissions = this.#submissions;
    const refs = this.#closure(ref);
    if (refs === null) return;
    const client = random.below(this.#options.clients);
    const pauseMs = random.spread(0.1, 200);
    let atMs = startMs;
    for (let times = 1 + random.below(5); times > 0; times--) {
      submissions.add(atMs, client, { kind: 'share', refs });
      atMs += pauseMs * random.between(0.2, 2);
      const givenUp = random.chance(0.5) ? refs : [ref];
      submissions.add(atMs, client, {
        kind: random.chance(0.7) ? 'release' : 'cancel',
        refs: givenUp,
      });
      if (random.chance(0.5)) atMs += pauseMs * random.between(0, 2);
    }
    submissions.add(atMs, client, { kind: 'share', refs });
  }

  #lastUse(refs: readonly number[]): number {
    return Math.max(0, ...refs.map((ref) => this.#uses.get(ref) ?? 0)) + 0.001;
  }

  /** A task with all it depends on, dependencies first; null where that is much, or handed over. */
  #closure(ref: number): number[] | null {
    const found = new Set<number>();
    const visit = (at: number): boolean => {
      if (found.has(at)) return true;
      const task = this.#submissions.task(at);
      // What was handed over is nobody else's to submit.
      if (task === undefined || task.behaviour.kind === 'scattered') return false;
      for (const dep of task.deps) if (!visit(dep)) return false;
      found.add(at);
      return found.size <= 6;
    };
    return visit(ref) ? [...found] : null;
  }

  #has(feature: Feature): boolean {
    return this.#options.features.has(feature);
  }
}

/** When each future is named last, by a submit. */
function lastUses(ops: readonly DrawnOp[]): ReadonlyMap<number, number> {
  const uses = new Map<number, number>();
  for (const { atMs, action } of ops) {
    if (action.kind !== 'submit') continue;
    for (const { deps } of action.tasks) {
      for (const ref of deps) uses.set(ref, Math.max(uses.get(ref) ?? 0, atMs));
    }
  }
  return uses;
}

import { taskOptions } from '@farm/protocol/core';
import type { TaskOptions } from '@farm/protocol/core';

import type { Random } from '../prng.ts';
import { RESCUER } from '../scenario.ts';
import type { Behaviour } from '../scenario.ts';
import { MEMORY_FEATURE } from './workload-options.ts';
import type { Feature, WorkloadOptions } from './workload-options.ts';

/** Draws what single tasks are like. */
export class TaskMaker {
  readonly #random: Random;
  readonly #options: WorkloadOptions;

  constructor(random: Random, options: WorkloadOptions) {
    this.#random = random;
    this.#options = options;
  }

  /** Bytes of the result of a task. */
  sizeBytes(): number {
    const random = this.#random;
    if (this.#has(MEMORY_FEATURE) && random.chance(0.3)) {
      return random.pick([16_384, 30_000, 80_000]);
    }
    if (this.#has('huge-values') && random.chance(0.02)) return 200_000 + random.below(400_000);
    if (this.#has('large-values') && random.chance(0.4)) {
      return random.pick([4_095, 4_096, 4_097, 9_000, 20_000]);
    }
    return 16 + random.below(80);
  }

  /** How long a task of that function takes. */
  durationMs(fn: string): number {
    const random = this.#random;
    // Tasks of one function are alike, more or less, and now and then one is not.
    const usual = { f0: 0.02, f1: 2, f2: 40, f3: 8 }[fn] ?? 1;
    let durationMs = usual * random.spread(0.3, 3);
    if (this.#has('micro-tasks')) durationMs *= 0.1;
    if (this.#has('long-tasks') && random.chance(0.2)) durationMs *= 50;
    if (random.chance(0.02)) durationMs *= 100;
    return Math.min(durationMs, 8_000);
  }

  /** What the function of a task with such options does. */
  behaviour(options: TaskOptions): Behaviour {
    const random = this.#random;
    if (this.#has('task-error') && random.chance(0.08)) {
      return { kind: 'throws', times: random.chance(0.5) ? Infinity : 1 + random.below(3) };
    }
    if (this.#has('flaky') && random.chance(0.3)) return { kind: 'flaky' };
    if (options.retries > 0 && random.chance(0.3)) {
      return { kind: 'throws', times: 1 + random.below(options.retries + 1) };
    }
    if (options.timeoutMs !== null && random.chance(0.3)) return { kind: 'hangs' };
    if (this.#has('task-hang') && random.chance(0.02)) return { kind: 'hangs' };
    if (this.#has('slot-crash') && random.chance(0.05)) {
      return { kind: 'crashes-slot', times: random.chance(0.3) ? Infinity : 1 + random.below(2) };
    }
    if (this.#has('poison') && random.chance(0.01)) {
      return { kind: 'kills-worker', times: random.chance(0.5) ? Infinity : 1 + random.below(2) };
    }
    return { kind: 'returns' };
  }

  /** Options for the tasks of a graph. */
  taskOptions(): TaskOptions {
    const random = this.#random;
    const { workers } = this.#options;
    const resources: (readonly [string, number])[] = [];
    if (this.#has('resources') && random.chance(0.5)) {
      const kind = random.below(4);
      if (kind === 0) resources.push(['threads', 2]);
      else if (kind === 1) resources.push(['GPU', random.pick([0.25, 0.4, 0.5, 0.6, 1, 1.5])]);
      else if (kind === 2) resources.push(['GPU', 2]);
      else resources.push(['GPU', 1], ['threads', 2], ['MEM', 10]);
    }
    const restriction: string[] = [];
    if (this.#has('restrictions') && random.chance(0.4) && workers.length > 0) {
      const { name, host } = random.pick(workers);
      restriction.push(random.chance(0.7) ? name : host, RESCUER);
    }
    const retries = this.#has('retries') && random.chance(0.5) ? 1 + random.below(3) : 0;
    const isDelayed = retries > 0 && this.#has('retry-delays') && random.chance(0.7);
    return taskOptions({
      resources,
      workers: restriction,
      allowOtherWorkers: random.chance(0.4),
      retries,
      retryDelayMs: isDelayed ? random.pick([1, 50, 1_000]) : 0,
      retryOn: isDelayed && random.chance(0.4) ? [random.pick(['ERR_TASK', 'TypeError'])] : [],
      rerunOnLoss: !(this.#has('run-once') && random.chance(0.4)),
      priority: this.#has('priorities') && random.chance(0.5) ? random.below(7) - 3 : 0,
      timeoutMs: this.#has('task-timeout') && random.chance(0.3) ? random.pick([20, 300]) : null,
    });
  }

  #has(feature: Feature): boolean {
    return this.#options.features.has(feature);
  }
}

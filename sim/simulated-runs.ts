import { failure, LIMITS } from '@farm/protocol';

import type {
  Execute,
  Interrupt,
  WorkerEvent,
  Withdraw,
} from '../packages/worker/src/core/index.ts';
import { check } from './failure.ts';
import type { Random } from './prng.ts';
import type { SimulatedProcess } from './process.ts';
import type { WorkerPlan } from './scenario.ts';
import { SimulatedSlots } from './simulated-slots.ts';
import type { GivenRun } from './simulated-slots.ts';
import type { SimulatedStore } from './simulated-store.ts';
import type { World } from './world.ts';

/** Whose runs these are, and who is told of them. */
export interface RunsOptions {
  readonly session: {
    readonly name: string;
    readonly worker: { readonly plan: WorkerPlan; readonly process: SimulatedProcess };
    readonly store: SimulatedStore;
  };
  readonly random: Random;
  readonly post: (event: WorkerEvent) => void;
  /** A task ends the whole process. */
  readonly killed: () => void;
}

/** What a session executes: gives runs to slots, keeps their results, and reports how they end. */
export class SimulatedRuns {
  readonly #world: World;
  readonly #options: RunsOptions;
  readonly #slots: SimulatedSlots;
  /** Tasks by run, of runs whose end has not been reported. */
  readonly #tasks = new Map<number, number>();

  constructor(world: World, options: RunsOptions) {
    const { session, random, post, killed } = options;
    const { clock } = world;
    const { execution } = world.checks;
    this.#world = world;
    this.#options = options;
    this.#slots = new SimulatedSlots(session.worker.plan.nthreads, {
      process: session.worker.process,
      random,
      nowMs: () => clock.nowMs,
      settings: world.scenario.settings,
      handlers: {
        ended: (_slot, results) => this.#ended(results),
        erred: (_slot, run, why, durationUs) => {
          this.#tasks.delete(run);
          post({ kind: 'run-erred', nowMs: clock.nowMs, run, failure: why, durationUs });
        },
        emptied: (slot, failed, unstarted) => {
          if (failed !== null) this.#tasks.delete(failed.run);
          for (const run of unstarted) this.#tasks.delete(run);
          post({ kind: 'slot-emptied', nowMs: clock.nowMs, slot, failed, unstarted });
        },
        withdrawn: (slot, withdrawn, started) => this.#withdrawn(slot, withdrawn, started),
        seceded: (_slot, given) => {
          execution.seceded(session, given);
          post({ kind: 'run-seceded', nowMs: clock.nowMs, run: given.run.run });
        },
        started: (_slot, given) => execution.started(session, given),
        over: (_slot, given) => execution.over(session, given),
        compute: ({ spec, inputs }) => world.oracle.compute(spec, inputs),
        behave: (given) => execution.behave(given),
        killed,
      },
    });
  }

  /** How many runs execute. */
  get executing(): number {
    return this.#slots.executing().length;
  }

  /** Gives runs to a slot, with their inputs. */
  execute({ slot, fn, runs }: Execute): void {
    const { session } = this.#options;
    const given: GivenRun[] = [];
    for (const run of runs) {
      const spec = this.#world.checks.execution.given(session, fn, run);
      const inputs = run.inputs.map((task) => {
        const value = session.store.get(task);
        check(
          value !== undefined,
          'inputs',
          `${session.name}: input ${task} of ${run.key} is missing`,
        );
        return value;
      });
      given.push({ run, spec, inputs });
      this.#tasks.set(run.run, run.task);
    }
    this.#slots.execute(slot, given);
  }

  /** Takes runs back that have not begun. */
  withdraw({ slot, runs }: Withdraw): void {
    const { withdrawn, started } = this.#slots.withdraw(slot, runs);
    this.#withdrawn(slot, withdrawn, started);
  }

  /** Ends what a slot executes. */
  interrupt({ slot, run, code, reason }: Interrupt): void {
    const { name } = this.#options.session.worker.plan;
    this.#slots.interrupt(slot, run, failure(code, reason, '', name, null));
  }

  /** Nothing is executed or reported any more. */
  close(): void {
    this.#slots.close();
  }

  #withdrawn(slot: number, withdrawn: readonly number[], started: readonly number[]): void {
    for (const run of withdrawn) this.#tasks.delete(run);
    const { nowMs } = this.#world.clock;
    this.#options.post({ kind: 'runs-withdrawn', nowMs, slot, withdrawn, started });
  }

  #ended(
    results: readonly {
      readonly run: number;
      readonly value: Uint8Array;
      readonly durationUs: number;
    }[],
  ): void {
    const { session, post } = this.#options;
    const { store } = session;
    const ended = results.flatMap(({ run, value, durationUs }) => {
      const task = this.#tasks.get(run);
      if (task === undefined) return [];
      this.#tasks.delete(run);
      const sizeBytes = value.byteLength;
      store.set(task, value);
      return [
        {
          run,
          sizeBytes,
          value: sizeBytes <= LIMITS.inlineValueBytesMax ? value : null,
          durationUs,
        },
      ];
    });
    if (ended.length === 0) return;
    post({ kind: 'runs-ended', nowMs: this.#world.clock.nowMs, ended });
  }
}

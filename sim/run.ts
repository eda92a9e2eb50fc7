/** Runs one scenario: a time of faults, a time to recover, and then everything is given up. */
import type { HasWhat } from '@farm/protocol/core';

import { SimulatedCluster } from './cluster.ts';
import type { Cores } from './cores.ts';
import { Coverage } from './coverage.ts';
import { check, SimulationFailure } from './failure.ts';
import type { Scenario } from './scenario.ts';
import type { FutureModel, SimulatedClient } from './simulated-client.ts';

/** After faults have ended, everything wanted is there within this time, virtually. */
const RECOVERY_MS = 15 * 60_000;
/** Once everything is given up, nothing is left within this time. */
const CLEANING_MS = 5 * 60_000;
/** A question is answered within this time when nothing else goes on. */
const ANSWER_MS = 60_000;
/** How often it is looked whether all is done. */
const LOOK_MS = 100;
/** Most things a run may do, and some more for each task: beyond, something goes in circles. */
const STEPS_MAX = 500_000;
const STEPS_PER_TASK = 500;

/** What a run came to. */
export interface RunReport {
  readonly seed: number;
  /** Null where all was well. */
  readonly failure: {
    readonly checker: string;
    readonly message: string;
    readonly phase: string;
    readonly atMs: number;
    readonly stack: string;
  } | null;
  readonly traceHash: string;
  /** Events and instructions of all cores. */
  readonly events: number;
  /** Virtual time it took. */
  readonly simulatedMs: number;
  /** Runs that were assigned. */
  readonly runs: number;
  /** The last events, as lines. */
  readonly lastEvents: readonly string[];
}

/** Runs a scenario to its end, or until something does not hold. */
export function runScenario(
  scenario: Scenario,
  cores: Cores,
  coverage: Coverage = new Coverage(),
): RunReport {
  const unobserve = coverage.observe(cores);
  const cluster = new SimulatedCluster(scenario, cores, coverage);
  const run = new Run(scenario, cluster);
  let failure: RunReport['failure'] = null;
  try {
    run.toTheEnd();
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    failure = {
      checker: error instanceof SimulationFailure ? error.checker : 'core',
      message: error.message,
      phase: run.phase,
      atMs: cluster.clock.nowMs,
      stack: error.stack ?? '',
    };
  } finally {
    unobserve();
  }
  const { trace, checks } = cluster.world;
  coverage.happened('second run', checks.assignments.copies);
  coverage.happened('more memory', checks.assignments.growths);
  return {
    seed: scenario.seed,
    failure,
    traceHash: trace.hash,
    events: trace.count,
    simulatedMs: cluster.clock.nowMs,
    runs: checks.assignments.runs,
    lastEvents: failure === null ? [] : trace.lines(60),
  };
}

class Run {
  phase: 'faults' | 'recovery' | 'cleaning' | 'shutdown' = 'faults';
  readonly #scenario: Scenario;
  readonly #cluster: SimulatedCluster;
  readonly #stepsMax: number;
  #steps = 0;

  constructor(scenario: Scenario, cluster: SimulatedCluster) {
    const tasks = scenario.ops.reduce((sum, { action }) => {
      return sum + ('tasks' in action ? action.tasks.length : 0);
    }, 0);
    this.#scenario = scenario;
    this.#cluster = cluster;
    this.#stepsMax = STEPS_MAX + tasks * STEPS_PER_TASK;
  }

  toTheEnd(): void {
    const cluster = this.#cluster;
    const lastMs = Math.max(0, ...this.#scenario.ops.map(({ atMs }) => atMs));
    this.#until(Math.max(this.#scenario.settings.faultsMs, lastMs) + 1);
    this.phase = 'recovery';
    cluster.heal();
    this.#recover();
    cluster.validate();
    this.#checkNeeded();
    this.phase = 'cleaning';
    for (const client of this.#clients()) client.releaseAll();
    for (const [index, client] of this.#clients().entries()) if (index % 2 === 0) client.close();
    this.#clean();
    this.phase = 'shutdown';
    this.#shutDown();
  }

  /** Everything wanted ends: with the right value, or with a failure of its own. */
  #recover(): void {
    const cluster = this.#cluster;
    const deadlineMs = cluster.clock.nowMs + RECOVERY_MS;
    for (;;) {
      cluster.cancelEndless();
      this.#until(cluster.clock.nowMs + LOOK_MS);
      const open = this.#clients().flatMap((client) => {
        return [...client.futures.values()].flatMap((future) => {
          return isOpen(future) ? [{ client, future }] : [];
        });
      });
      const questions = this.#clients().filter((client) => client.openQuestions() > 0);
      if (open.length === 0 && questions.length === 0) return;
      for (const { client, future } of open) {
        if (future.state === 'memory' && client.openQuestions() === 0) client.gather(future);
      }
      const [first] = open;
      check(
        cluster.clock.nowMs < deadlineMs,
        'liveness',
        first === undefined ? 'questions are not answered' : this.#describe(open.length, first),
      );
    }
  }

  /** What is stored is what somebody wants (I8). */
  #checkNeeded(): void {
    const cluster = this.#cluster;
    // What was on its way arrives.
    this.#until(cluster.clock.nowMs + CLEANING_MS / 10);
    const { oracle } = cluster.world;
    const wanted = new Set<string>();
    for (const client of this.#clients()) {
      for (const { state, ref, id } of client.futures.values()) {
        if (state !== 'memory') continue;
        const { key } = oracle.spec(ref);
        // Futures of one key stand for one task, unless two tasks claim the key.
        wanted.add(oracle.isKeyContested(key) ? `${key} ${client.plan.name} ${id}` : key);
      }
    }
    const { memory } = cluster.scheduler.core.counts();
    const kept = cluster.world.coverage.keysIn('memory').filter((key) => !wanted.has(key));
    check(
      memory <= wanted.size,
      'leftovers',
      `${memory} results are kept, ${wanted.size} wanted; not wanted are: ${kept.join(', ')}`,
    );
    for (const { session, plan } of cluster.workers) {
      const stored = session?.store.size ?? 0;
      check(stored <= memory, 'leftovers', `${plan.name} stores ${stored} of ${memory} results`);
    }
    this.#checkHoldings();
  }

  /** Where nothing is on its way any more, workers hold what the scheduler says that they hold. */
  #checkHoldings(): void {
    const { clock, world, workers } = this.#cluster;
    const answers: HasWhat[] = [];
    this.#clients()[0]?.askHoldings((holdings) => answers.push(holdings));
    const deadlineMs = clock.nowMs + ANSWER_MS;
    while (answers.length === 0 && this.#clients().length > 0) {
      this.#until(clock.nowMs + LOOK_MS);
      check(clock.nowMs < deadlineMs, 'liveness', 'nobody says who holds what');
    }
    const holdings = answers[0] ?? [];
    const numbers = world.checks.assignments.numbersByKey();
    for (const { worker, keys } of holdings) {
      const stores = workers.flatMap(({ session, plan }) => {
        return session !== null && plan.name === worker ? [session.store] : [];
      });
      for (const key of keys) {
        // What was handed over has never run.
        const tasks = numbers.get(key);
        const isThere =
          tasks?.some((task) => stores.some((store) => store.sizeOf(task) !== undefined)) ?? true;
        check(isThere, 'holdings', `${worker} is said to hold ${key}, which it does not`);
      }
    }
  }

  #clean(): void {
    const cluster = this.#cluster;
    const deadlineMs = cluster.clock.nowMs + CLEANING_MS;
    for (;;) {
      this.#until(cluster.clock.nowMs + LOOK_MS);
      // Functions stay known while a client that defined them is there.
      for (const client of this.#clients()) client.close();
      const left = cluster.findLeftovers();
      if (left === null) break;
      check(cluster.clock.nowMs < deadlineMs, 'leftovers', left);
    }
    cluster.validate();
  }

  #shutDown(): void {
    const { clock, scheduler, world } = this.#cluster;
    const deadlineMs = clock.nowMs + CLEANING_MS;
    scheduler.askShutdown('the simulation ends');
    while (scheduler.exitReason === null || this.#cluster.workers.some(({ session }) => session)) {
      this.#until(clock.nowMs + LOOK_MS);
      check(clock.nowMs < deadlineMs, 'shutdown', 'the cluster does not end');
    }
    check(world.checks.execution.executing() === 0, 'shutdown', 'tasks run on');
  }

  #clients(): readonly SimulatedClient[] {
    return this.#cluster.clients.filter(({ isGone }) => !isGone);
  }

  #until(atMs: number): void {
    this.#cluster.clock.runUntil(atMs, () => {
      this.#steps += 1;
      check(this.#steps < this.#stepsMax, 'liveness', `more than ${this.#stepsMax} steps`);
    });
  }

  #describe(
    count: number,
    { client, future }: { client: SimulatedClient; future: FutureModel },
  ): string {
    const { oracle } = this.#cluster.world;
    const { key } = oracle.spec(future.ref);
    const counts = JSON.stringify(this.#cluster.scheduler.core.counts());
    const workers = this.#cluster.workers.map(({ plan, session }) => {
      return `${plan.name}: ${session === null ? 'no session' : JSON.stringify(session.core.counts())}`;
    });
    return (
      `${count} futures are not settled, the first is ${future.id} of ${client.plan.name} (${key}): ` +
      `${future.state}${future.isVerified ? '' : ', value not seen'}; ${counts}; ${workers.join('; ')}`
    );
  }
}

/** Whether there is something to wait for. */
function isOpen({ state, isVerified }: FutureModel): boolean {
  return state === 'pending' || (state === 'memory' && !isVerified);
}

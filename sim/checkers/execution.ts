import type { WorkerMessage } from '@farm/protocol/core';

import type { Define, Forget, SlotRun } from '../../packages/worker/src/core/index.ts';
import { check } from '../failure.ts';
import { grantedMemory, MEMORY, memoryOf } from '../growing-memory.ts';
import type { Oracle, TaskSpec } from '../oracle.ts';
import type { WorkerPlan } from '../scenario.ts';
import type { Conduct, GivenRun } from '../simulated-slots.ts';
import { checkUses, devicesAskedFor } from './devices.ts';

/** A session of a worker, as far as it is shown. */
export interface CheckedSession {
  readonly worker: { readonly plan: WorkerPlan };
}

interface SessionRecord {
  readonly executing: Map<number, GivenRun>;
  /** Those of them that go on without a slot. */
  readonly seceded: Set<number>;
  readonly functions: Set<number>;
  /** The worker said that these are stopped. */
  readonly stopped: Set<number>;
  /** The worker said how these ended. */
  readonly told: Set<number>;
}

/**
 * What workers execute: each run once, with the right arguments, within the worker's capacity, and
 * none that was stopped (I3, I6, I7, I11). Counted in the slots, without asking the cores.
 */
export class ExecutionChecker {
  readonly #oracle: Oracle;
  readonly #sessions = new Map<CheckedSession, SessionRecord>();
  readonly #started = new Set<number>();
  /** How often each function has misbehaved on purpose, or has run where that decides. */
  readonly #mishaps = new Map<number, number>();
  /** How often tasks that must not run twice have started. */
  readonly #startsOnce = new Map<number, number>();
  readonly #areFailuresFinal: boolean;

  /** @param options - `areFailuresFinal`: no client asks for failed tasks to run again. */
  constructor(oracle: Oracle, { areFailuresFinal }: { readonly areFailuresFinal: boolean }) {
    this.#oracle = oracle;
    this.#areFailuresFinal = areFailuresFinal;
  }

  opened(session: CheckedSession): void {
    this.#sessions.set(session, {
      executing: new Map(),
      seceded: new Set(),
      functions: new Set(),
      stopped: new Set(),
      told: new Set(),
    });
  }

  closed(session: CheckedSession): void {
    this.#sessions.delete(session);
  }

  /** Functions come and go. */
  functionsTold(session: CheckedSession, instruction: Define | Forget): void {
    const functions = this.#sessions.get(session)?.functions;
    if (instruction.do === 'define') functions?.add(instruction.fn);
    else for (const fn of instruction.fns) functions?.delete(fn);
  }

  /** A run is given to a slot; returns its task. */
  given(session: CheckedSession, fn: number, { run, key, args, inputs }: SlotRun): TaskSpec {
    const spec = this.#oracle.decodeArguments(args);
    check(spec !== undefined, 'execution', `run ${run} of ${key} has arguments of no task`);
    check(spec.key === key, 'execution', `run ${run} of ${key} has the arguments of ${spec.key}`);
    check(
      inputs.length === spec.deps.length,
      'execution',
      `run ${run} of ${key} has ${inputs.length} inputs, not ${spec.deps.length}`,
    );
    const isKnown = this.#sessions.get(session)?.functions.has(fn) === true;
    check(isKnown, 'execution', `run ${run} of ${key} names function ${fn}, which is not there`);
    return spec;
  }

  started(session: CheckedSession, given: GivenRun): void {
    const { run } = given.run;
    const record = this.#sessions.get(session);
    check(record !== undefined, 'execution', `run ${run} starts in a session that is over`);
    check(!this.#started.has(run), 'execution', `run ${run} of ${given.spec.key} starts again`);
    check(!record.stopped.has(run), 'execution', `run ${run} starts though it was stopped`);
    this.#started.add(run);
    this.#checkOnce(given.spec);
    record.executing.set(run, given);
    this.#checkCapacity(session, record);
  }

  /** A run goes on without its slot. */
  seceded(session: CheckedSession, { run }: GivenRun): void {
    this.#sessions.get(session)?.seceded.add(run.run);
  }

  over(session: CheckedSession, { run }: GivenRun): void {
    this.#sessions.get(session)?.executing.delete(run.run);
  }

  /** A worker reports. */
  said(session: CheckedSession, message: WorkerMessage): void {
    const record = this.#sessions.get(session);
    if (record === undefined) return;
    const tell = (run: number): void => {
      check(!record.told.has(run), 'execution', `run ${run} is told to be over twice`);
      check(!record.executing.has(run), 'execution', `run ${run} is told to be over, and runs`);
      record.told.add(run);
    };
    if (message.op === 'finished') for (const run of message.runs) tell(run);
    else if (message.op === 'run-failed' || message.op === 'input-missing') tell(message.run);
    else if (message.op === 'stopped') {
      for (const run of message.runs) {
        tell(run);
        record.stopped.add(run);
      }
    }
  }

  /** What a function does this time. */
  behave({ spec: { ref, behaviour }, run: { resources } }: GivenRun): Conduct {
    if (behaviour.kind === 'hungry') {
      return behaviour.bytes > grantedMemory(resources) ? 'takes-too-much' : 'returns';
    }
    if (behaviour.kind === 'hangs') return behaviour.kind;
    const before = this.#mishaps.get(ref) ?? 0;
    if (behaviour.kind === 'flaky') {
      this.#mishaps.set(ref, before + 1);
      return before % 2 === 0 ? 'returns' : 'throws';
    }
    if (!('times' in behaviour)) return 'returns';
    if (before >= behaviour.times) return 'returns';
    this.#mishaps.set(ref, before + 1);
    return behaviour.kind;
  }

  /** Whether a run has begun to execute. */
  hasStarted(run: number): boolean {
    return this.#started.has(run);
  }

  /** Runs that execute anywhere. */
  executing(): number {
    let count = 0;
    for (const { executing } of this.#sessions.values()) count += executing.size;
    return count;
  }

  /** What must not happen twice happens again only where a client, or its retries, ask for it. */
  #checkOnce({ ref, key, options }: TaskSpec): void {
    // To ask for more memory is to ask for another run.
    if (options.rerunOnLoss || options.growMemory !== null || !this.#areFailuresFinal) return;
    const starts = (this.#startsOnce.get(ref) ?? 0) + 1;
    this.#startsOnce.set(ref, starts);
    if (!this.#oracle.isSubmittedOnce(ref)) return;
    const most = 1 + options.retries;
    check(starts <= most, 'execution', `${key} must not run twice, and starts ${starts} times`);
  }

  #checkCapacity(session: CheckedSession, { executing, seceded }: SessionRecord): void {
    const { plan } = session.worker;
    let threads = 0;
    const used = new Map<string, number>();
    for (const { run, spec } of executing.values()) {
      if (!seceded.has(run.run)) threads += spec.threads;
      for (const [name, amount] of run.resources) used.set(name, (used.get(name) ?? 0) + amount);
    }
    check(threads <= plan.nthreads, 'capacity', `${plan.name} runs ${threads} of ${plan.nthreads}`);
    for (const [name, amount] of used) {
      const declared = plan.resources.find(([own]) => own === name)?.[1] ?? 0;
      const capacity = name === MEMORY ? memoryOf(plan) : declared;
      check(
        amount <= capacity + 1e-9,
        'capacity',
        `${plan.name} uses ${amount} ${name} of ${capacity}`,
      );
    }
    checkUses(
      plan.name,
      [...executing.values()].map(({ run, spec }) => [devicesAskedFor(spec), run.devices ?? []]),
    );
  }
}

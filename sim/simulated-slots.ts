import { failure } from '@farm/protocol/core';
import type { Failure } from '@farm/protocol/core';

import type { SlotRun } from '../packages/worker/src/core/index.ts';
import type { Executor } from '../packages/worker/src/shell/executors/executor.ts';
import type { TaskSpec } from './oracle.ts';
import type { Random } from './prng.ts';
import type { SimulatedProcess } from './process.ts';
import type { Settings } from './scenario.ts';

/** A run with what it needs. */
export interface GivenRun {
  readonly run: SlotRun;
  readonly spec: TaskSpec;
  readonly inputs: readonly Uint8Array[];
}

/** How a run that is over ended. */
type RunEnd =
  | { readonly run: number; readonly value: Uint8Array; readonly durationUs: number }
  | { readonly run: number; readonly why: Failure; readonly durationUs: number };

/** What a function does this time. */
export type Conduct =
  | 'returns'
  | 'throws'
  | 'hangs'
  | 'crashes-slot'
  | 'kills-worker'
  | 'takes-too-much';

/** Who hears of what happens in the slots; as the executors of a real worker report it. */
export interface SlotHandlers {
  ended(slot: number, ends: readonly Extract<RunEnd, { value: Uint8Array }>[]): void;
  erred(slot: number, run: number, why: Failure, durationUs: number): void;
  emptied(
    slot: number,
    failed: { readonly run: number; readonly failure: Failure } | null,
    unstarted: readonly number[],
  ): void;
  /** Answers for runs that `withdraw` could not answer for. */
  withdrawn(slot: number, withdrawn: readonly number[], started: readonly number[]): void;
  /** A run waits for others, as far as anybody knows, and goes on without its slot. */
  seceded(slot: number, given: GivenRun): void;
  /** A run begins to execute. Checks only. */
  started(slot: number, given: GivenRun): void;
  /** A run executes no more. Checks only. */
  over(slot: number, given: GivenRun): void;
  /** What the function makes of its inputs. */
  compute(given: GivenRun): Uint8Array;
  /** What the function does this time. */
  behave(given: GivenRun): Conduct;
  /** A function ends the process. */
  killed(given: GivenRun): void;
}

/** One in so many runs waits for others, or so it says. */
const SECESSION_EVERY = 23;
/** One in so many runs is with a spawner, which has to be asked whether it has begun. */
const SPAWNED_EVERY = 3;
const SPAWNER_ANSWERS_MS = 3;

interface Slot {
  readonly index: number;
  waiting: GivenRun[];
  executing: GivenRun | null;
  startedMs: number;
  /** Counts what executes, so that timers of earlier runs do nothing. */
  turn: number;
  /** What is being ended by force, and why. */
  stopping: { readonly run: number; readonly failure: Failure } | null;
  isEmptying: boolean;
  /** Whether these have begun a spawner is asked. */
  asked: Set<number>;
  /** Runs that go on without the slot. */
  seceded: Map<number, GivenRun>;
  /** Over, but not reported. */
  ends: RunEnd[];
  isReportDue: boolean;
}

type SlotsOfWorker = Pick<Executor, 'withdraw' | 'interrupt' | 'executing'>;

/**
 * Slots that take virtual time: a model of a worker's threads and commands. One slot executes one
 * run at a time, in the order given; ends are reported a little later than they happen.
 */
export class SimulatedSlots implements SlotsOfWorker {
  readonly #slots: readonly Slot[];
  readonly #process: SimulatedProcess;
  readonly #random: Random;
  readonly #handlers: SlotHandlers;
  readonly #nowMs: () => number;
  readonly #stragglerShare: number;
  readonly #slowStopShare: number;
  #isClosed = false;

  constructor(
    count: number,
    options: {
      readonly process: SimulatedProcess;
      readonly random: Random;
      readonly nowMs: () => number;
      readonly settings: Pick<Settings, 'stragglerShare' | 'slowStopShare'>;
      readonly handlers: SlotHandlers;
    },
  ) {
    this.#process = options.process;
    this.#random = options.random;
    this.#handlers = options.handlers;
    this.#nowMs = options.nowMs;
    this.#stragglerShare = options.settings.stragglerShare;
    this.#slowStopShare = options.settings.slowStopShare;
    this.#slots = Array.from({ length: count }, (_, index) => ({
      index,
      waiting: [],
      executing: null,
      startedMs: 0,
      turn: 0,
      stopping: null,
      isEmptying: false,
      asked: new Set(),
      seceded: new Map(),
      ends: [],
      isReportDue: false,
    }));
  }

  /** Appends runs to what a slot has to do. */
  execute(index: number, runs: readonly GivenRun[]): void {
    const slot = this.#at(index);
    slot.waiting.push(...runs);
    this.#later(this.#random.between(0, 0.2), () => this.#next(slot));
  }

  withdraw(index: number, runs: readonly number[]): { withdrawn: number[]; started: number[] } {
    const slot = this.#at(index);
    const isSpawned = (run: number): boolean => run % SPAWNED_EVERY === 0 && isWaiting(slot, run);
    for (const run of runs.filter(isSpawned)) {
      slot.asked.add(run);
      this.#later(SPAWNER_ANSWERS_MS, () => {
        if (!slot.asked.delete(run)) return;
        const { withdrawn, started } = takeBack(slot, [run]);
        this.#handlers.withdrawn(index, withdrawn, started);
      });
    }
    return takeBack(
      slot,
      runs.filter((run) => !slot.asked.has(run)),
    );
  }

  interrupt(index: number, run: number, why: Failure): boolean {
    const slot = this.#at(index);
    const waiting = slot.seceded.get(run);
    if (waiting !== undefined) {
      // It is told by its signal, and ends as it should.
      this.#later(this.#random.between(0.1, 50), () => {
        this.#endSeceded(slot, waiting, { run, why, durationUs: 1 });
      });
      return true;
    }
    if (slot.stopping !== null) return slot.stopping.run === run;
    if (slot.executing?.run.run !== run) return false;
    slot.stopping = { run, failure: why };
    // A command may take its time to end after SIGTERM.
    const delayMs = this.#random.chance(this.#slowStopShare)
      ? this.#random.between(1, 2_100)
      : this.#random.between(0.5, 10);
    this.#later(delayMs, () => this.#empty(slot, slot.stopping));
    return true;
  }

  executing(): readonly number[] {
    return this.#slots.flatMap(({ executing, seceded }) => [
      ...(executing === null ? [] : [executing.run.run]),
      ...seceded.keys(),
    ]);
  }

  /** Ends everything at once; nothing is reported any more. */
  close(): void {
    if (this.#isClosed) return;
    for (const slot of this.#slots) {
      if (slot.executing !== null) this.#handlers.over(slot.index, slot.executing);
      slot.executing = null;
      for (const given of slot.seceded.values()) this.#handlers.over(slot.index, given);
      slot.seceded.clear();
    }
    this.#isClosed = true;
  }

  #at(index: number): Slot {
    const slot = this.#slots[index];
    if (slot === undefined) throw new RangeError(`there is no slot ${index}`);
    return slot;
  }

  #later(delayMs: number, action: () => void): void {
    this.#process.after(delayMs, () => {
      if (!this.#isClosed) action();
    });
  }

  #next(slot: Slot): void {
    if (slot.executing !== null || slot.isEmptying || slot.stopping !== null) return;
    const given = slot.waiting.shift();
    if (given === undefined) return;
    slot.executing = given;
    slot.startedMs = this.#nowMs();
    slot.turn += 1;
    this.#handlers.started(slot.index, given);
    this.#behave(slot, given);
  }

  #behave(slot: Slot, given: GivenRun): void {
    const { turn } = slot;
    const { spec, run } = given;
    // Now and then one takes much longer than the others.
    const isStraggler = run.timeoutMs === null && this.#random.chance(this.#stragglerShare);
    const factor = isStraggler ? this.#random.spread(2, 20) : this.#random.between(0.8, 1.2);
    const durationMs = spec.durationMs * factor;
    const inTurn = (delayMs: number, action: () => void): void => {
      this.#later(delayMs, () => {
        if (slot.turn === turn && slot.executing === given) action();
      });
    };
    const durationUs = Math.max(1, Math.round(durationMs * 1_000));
    const what = this.#handlers.behave(given);
    if (what === 'returns' && run.timeoutMs === null && run.run % SECESSION_EVERY === 0) {
      inTurn(durationMs / 4, () => this.#secede(slot, given, durationMs));
      return;
    }
    switch (what) {
      case 'returns':
        inTurn(durationMs, () => {
          const value = this.#handlers.compute(given);
          this.#end(slot, given, { run: run.run, value, durationUs });
        });
        break;
      case 'throws':
        inTurn(durationMs, () => {
          const why = failure(
            'ERR_TASK',
            `${run.key} threw`,
            run.key,
            null,
            new Uint8Array([1, 2]),
          );
          this.#end(slot, given, { run: run.run, why, durationUs });
        });
        break;
      case 'crashes-slot':
        inTurn(durationMs / 2, () => {
          const why = failure('ERR_WORKER_CRASH', 'its thread ended', run.key, null, null);
          this.#breakDown(slot, run.run, why);
        });
        break;
      case 'takes-too-much':
        inTurn(durationMs / 2, () => {
          const why = failure('ERR_MEMORY_LIMIT', 'it took more', run.key, null, null);
          this.#breakDown(slot, run.run, why);
        });
        break;
      case 'kills-worker':
        inTurn(durationMs / 2, () => this.#handlers.killed(given));
        break;
      case 'hangs':
        break;
    }
    if (run.timeoutMs === null) return;
    inTurn(run.timeoutMs, () => {
      const why = failure(
        'ERR_TASK_TIMEOUT',
        `ran longer than ${run.timeoutMs} ms`,
        run.key,
        null,
        null,
      );
      this.interrupt(slot.index, run.run, why);
    });
  }

  /** What executes is ended, for a reason of its own. */
  #breakDown(slot: Slot, run: number, why: Failure): void {
    slot.stopping ??= { run, failure: why };
    const { stopping } = slot;
    this.#later(this.#random.between(0, 5), () => this.#empty(slot, stopping));
  }

  /** The run goes on without its slot, which takes the next one. */
  #secede(slot: Slot, given: GivenRun, durationMs: number): void {
    if (slot.stopping !== null) return;
    slot.executing = null;
    slot.turn += 1;
    slot.seceded.set(given.run.run, given);
    this.#handlers.seceded(slot.index, given);
    this.#later(durationMs, () => {
      const durationUs = Math.max(1, Math.round(durationMs * 1_250));
      const value = this.#handlers.compute(given);
      this.#endSeceded(slot, given, { run: given.run.run, value, durationUs });
    });
    this.#next(slot);
  }

  #endSeceded(slot: Slot, given: GivenRun, end: RunEnd): void {
    if (!slot.seceded.delete(given.run.run)) return;
    this.#handlers.over(slot.index, given);
    slot.ends.push(end);
    this.#report(slot);
  }

  #end(slot: Slot, given: GivenRun, end: RunEnd): void {
    this.#handlers.over(slot.index, given);
    slot.executing = null;
    slot.turn += 1;
    slot.ends.push(end);
    if (!slot.isReportDue) {
      slot.isReportDue = true;
      this.#later(this.#random.chance(0.7) ? 0 : this.#random.between(0, 2), () => {
        slot.isReportDue = false;
        this.#report(slot);
      });
    }
    this.#next(slot);
  }

  /** Tells ends in order, results that follow each other together. */
  #report(slot: Slot): void {
    const ends = slot.ends;
    slot.ends = [];
    let results: Extract<RunEnd, { value: Uint8Array }>[] = [];
    for (const end of ends) {
      if ('value' in end) {
        results.push(end);
        continue;
      }
      if (results.length > 0) this.#handlers.ended(slot.index, results);
      results = [];
      this.#handlers.erred(slot.index, end.run, end.why, end.durationUs);
    }
    if (results.length > 0) this.#handlers.ended(slot.index, results);
  }

  /** What executed was ended by force, unless it ended by itself just before. */
  #empty(slot: Slot, stopping: Slot['stopping']): void {
    if (slot.stopping !== stopping || stopping === null) return;
    slot.isEmptying = true;
    const { executing } = slot;
    if (executing !== null) this.#handlers.over(slot.index, executing);
    this.#report(slot);
    const unstarted = slot.waiting.map(({ run }) => run.run);
    slot.executing = null;
    slot.turn += 1;
    slot.waiting = [];
    slot.asked.clear();
    slot.stopping = null;
    slot.isEmptying = false;
    const failed = executing?.run.run === stopping.run ? stopping : null;
    this.#handlers.emptied(slot.index, failed, unstarted);
  }
}

function isWaiting(slot: Slot, run: number): boolean {
  return slot.waiting.some((given) => given.run.run === run);
}

function takeBack(slot: Slot, runs: readonly number[]): { withdrawn: number[]; started: number[] } {
  const withdrawn = runs.filter((run) => isWaiting(slot, run));
  const gone = new Set(withdrawn);
  slot.waiting = slot.waiting.filter(({ run }) => !gone.has(run.run));
  return { withdrawn, started: runs.filter((run) => !gone.has(run)) };
}

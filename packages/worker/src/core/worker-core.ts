import {
  workerHeartbeat,
  workerMetrics,
  type PutData,
  type WorkerBoundMessage,
  type WorkerMetrics,
} from '@farm/protocol/core';

import { acceptRuns } from './accept-runs.ts';
import type { WorkerEvent } from './events.ts';
import type { WorkerInstruction } from './instructions.ts';
import { beginDrain, endDrain, leave, leaveAsTold } from './leave.ts';
import { moveInputs } from './moved-inputs.ts';
import { strayed } from './reported-run.ts';
import { endRun } from './run-end.ts';
import type { WorkerRun } from './run.ts';
import { secededRuns, takeSeceded } from './seceded.ts';
import { takeEmptied, takeEnded, takeErred } from './slot-reports.ts';
import { checkWorkerState } from './validate.ts';
import { handBack, stopRuns, takeWithdrawn, withdrawStuck } from './withdrawing.ts';
import { WorkerState, type WorkerCoreOptions } from './worker-state.ts';

/** How many things of each kind a core knows. All are 0 once everything is ended and freed. */
export interface WorkerCounts {
  readonly runs: number;
  readonly ready: number;
  readonly slotted: number;
  readonly data: number;
  readonly functions: number;
  /** Reports about runs or inputs that are not known (any more), over the core's whole life. */
  readonly stray: number;
}

/**
 * The worker as a state machine: what the scheduler says and what the slots report goes in, what
 * the shell is to do comes out. It brings inputs into the store before a run that needs them, keeps
 * the slots busy, takes runs back that are not wanted or stuck, and keeps data for as long as the
 * scheduler or a run needs it.
 *
 * @example
 * const core = new WorkerCore({ nthreads: 2, name: 'w-1', address: null });
 * perform(core.handle([{ kind: 'scheduler-said', nowMs, message }]));
 */
export class WorkerCore {
  readonly #state: WorkerState;
  /** As last told to the scheduler; null before the first heartbeat. */
  #metrics: WorkerMetrics | null = null;

  constructor(options: WorkerCoreOptions) {
    this.#state = new WorkerState(options);
  }

  /** Takes in what happened, in order, and answers with what to do, in order. */
  handle(events: readonly WorkerEvent[]): readonly WorkerInstruction[] {
    const state = this.#state;
    let nowMs = 0;
    for (const event of events) {
      if (state.isClosed) break;
      nowMs = event.nowMs;
      this.#take(event);
    }
    if (events.length > 0 && !state.isClosed) {
      this.#begin(nowMs);
      withdrawStuck(state, nowMs);
      state.data.flush(state.out);
      state.outbox.flush(state.out);
      endDrain(state, nowMs);
    }
    return state.out.splice(0);
  }

  /** How much it knows. */
  counts(): WorkerCounts {
    const { runs, ready, slots, data, functions, stray } = this.#state;
    return {
      runs: runs.size,
      ready: ready.size,
      slotted: slots.all().reduce((sum, slot) => sum + slot.runs.size, 0),
      data: data.size,
      functions: functions.size,
      stray,
    };
  }

  /**
   * Checks every index against every other.
   *
   * @throws FarmError `ERR_INTERNAL` naming the first thing that does not hold.
   */
  validate(): void {
    checkWorkerState(this.#state);
  }

  #take(event: WorkerEvent): void {
    const state = this.#state;
    switch (event.kind) {
      case 'scheduler-said':
        this.#hear(event.message, event.nowMs);
        break;
      case 'runs-ended':
        for (const ended of event.ended) takeEnded(state, ended, event.nowMs);
        break;
      case 'run-erred':
        takeErred(state, event);
        break;
      case 'run-seceded':
        takeSeceded(state, event.run, event.nowMs);
        break;
      case 'slot-emptied':
        takeEmptied(state, event);
        break;
      case 'runs-withdrawn':
        takeWithdrawn(state, event);
        break;
      case 'input-fetched':
        this.#makeReady(state.data.fetched(event.task, event.sizeBytes));
        break;
      case 'input-failed':
        for (const run of state.data.failed(event.task, event.holders)) {
          state.outbox.inputMissing(run.run, event.task, event.holders);
          endRun(state, run);
        }
        break;
      case 'memory-sampled':
        state.memory.sampled(event);
        break;
      case 'value-spilled':
        state.memory.spilled(event.task, event.transfer);
        break;
      case 'spill-failed':
        state.memory.spillFailed(event);
        break;
      case 'value-loaded':
        this.#makeReady(state.memory.loaded(event.task, event.transfer));
        break;
      case 'value-lost':
        for (const run of state.memory.lost(event.task, event.reason)) {
          state.outbox.inputMissing(run.run, event.task, []);
          endRun(state, run);
        }
        break;
      case 'heartbeat-due':
        this.#metrics = event.metrics;
        this.#beat();
        break;
      case 'woke':
        state.isWakeAsked = false;
        break;
      case 'drain-asked':
        beginDrain(state, event.reason, event.restart);
        break;
      case 'close-asked':
        leave(state, event.reason);
        break;
      default:
        event satisfies never;
    }
  }

  #hear(message: WorkerBoundMessage, nowMs: number): void {
    const state = this.#state;
    switch (message.op) {
      case 'define-worker-function':
        state.functions.define(message.fn, message.name, message.spec);
        break;
      case 'forget-functions':
        state.functions.forget(message.fns);
        break;
      case 'run':
        acceptRuns(state, message);
        break;
      case 'free':
        state.data.free(message.tasks);
        break;
      case 'stop':
        stopRuns(state, message.runs, message.running ? 'running' : 'unstarted');
        break;
      case 'put-data':
        this.#put(message);
        break;
      case 'acquire':
        state.data.acquire(message);
        break;
      case 'close-worker':
        leaveAsTold(state, message.reason, false);
        break;
      case 'restart-worker':
        leaveAsTold(state, message.reason, true);
        break;
      case 'get-data':
      case 'set-plugin':
      case 'data-failed':
        // The shell's business; said to the core by mistake, it concerns no run.
        strayed(state, `a ${message.op} message at ${nowMs}`);
        break;
      default:
        message satisfies never;
    }
  }

  #put({ tasks, values, ends }: PutData): void {
    for (const [index, task] of tasks.entries()) {
      const value = values.subarray(ends[index - 1] ?? 0, ends[index]);
      this.#makeReady(this.#state.data.put(task, value));
    }
  }

  #makeReady(runs: readonly WorkerRun[]): void {
    for (const run of runs) this.#state.ready.push(run);
  }

  /** Gives slots what is ready, as far as there is memory for it, and sees to the memory. */
  #begin(nowMs: number): void {
    const { ready, slots, memory, out, data, runs } = this.#state;
    const { fn } = ready.peek() ?? { fn: null };
    const busy = slots.all().flatMap(({ runs: [first] }) => first?.fn ?? []);
    const before = out.length;
    if (memory.makeRoom(fn, busy, nowMs)) slots.fill(ready, nowMs, out);
    moveInputs(out, before, data, runs);
    const isBusy = ready.size > 0 || slots.executing().length > 0;
    memory.balance(nowMs, isBusy);
    if (memory.isPaused !== this.#state.isPaused) this.#pauseOrResume();
  }

  /** Pausing began or ended: the scheduler hears at once, and gets back what was not started. */
  #pauseOrResume(): void {
    const state = this.#state;
    state.isPaused = !state.isPaused;
    this.#beat();
    if (state.isPaused) handBack(state);
  }

  #beat(): void {
    const metrics = this.#metrics;
    if (metrics === null) return;
    const { data, isPaused, slots, outbox } = this.#state;
    const { spilledBytes } = data;
    const told = workerMetrics({ ...metrics, spilledBytes, paused: isPaused });
    const seceded = secededRuns(this.#state).map(({ run }) => run);
    outbox.message(workerHeartbeat(told, [...slots.executing(), ...seceded]));
  }
}

import {
  failure,
  invariant,
  leaving,
  draining,
  workerHeartbeat,
  workerMetrics,
  type Failure,
  type PutData,
  type Run,
  type WorkerBoundMessage,
  type WorkerMetrics,
} from '@farm/protocol/core';

import { DataTable } from './data-table.ts';
import { Devices, type DeviceResource } from './devices.ts';
import type { RunEnded, RunsWithdrawn, SlotEmptied, WorkerEvent } from './events.ts';
import { FunctionTable, recordRun } from './function-table.ts';
import type { WorkerInstruction } from './instructions.ts';
import { MemoryManager } from './memory-manager.ts';
import type { MemoryPolicy } from './memory-policy.ts';
import { moveInputs } from './moved-inputs.ts';
import { Outbox } from './outbox.ts';
import { ReadyQueue } from './ready-queue.ts';
import type { WorkerRun } from './run.ts';
import { Slots, waitingInSlot } from './slots.ts';
import { checkWorkerState } from './validate.ts';

/** A draining worker gives up what waits for other tasks, and for nothing else, after so long. */
const DRAIN_WAITING_MS = 20_000;

/** Options of {@link WorkerCore}. */
export interface WorkerCoreOptions {
  /** Execution slots, at least 1. */
  readonly nthreads: number;
  /** The worker's name, for failures. */
  readonly name: string;
  /** Where peers reach this worker, which therefore never fetches from there; null if nowhere. */
  readonly address: string | null;
  /** When to spill and to pause. @default null, never */
  readonly memory?: MemoryPolicy | null;
  /** Resources that stand for devices, of which runs are granted some. @default none */
  readonly devices?: readonly DeviceResource[];
}

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

/** It is to end, see `Draining` of the protocol. */
interface Drain {
  readonly reason: string;
  readonly restart: boolean;
  /** Since when all that runs waits for other tasks. */
  waitingSinceMs: number | null;
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
  readonly #name: string;
  readonly #runs = new Map<number, WorkerRun>();
  readonly #ready = new ReadyQueue();
  readonly #slots: Slots;
  readonly #devices: Devices;
  readonly #functions: FunctionTable;
  readonly #data: DataTable;
  readonly #outbox = new Outbox();
  readonly #out: WorkerInstruction[] = [];
  readonly #memory: MemoryManager;
  /** As last told to the scheduler; null before the first heartbeat. */
  #metrics: WorkerMetrics | null = null;
  #isWakeAsked = false;
  #isPaused = false;
  /** Null while it takes runs. */
  #drain: Drain | null = null;
  #isClosed = false;
  #stray = 0;

  constructor(options: WorkerCoreOptions) {
    const { nthreads, name, address, memory = null, devices = [] } = options;
    invariant(Number.isInteger(nthreads) && nthreads >= 1, `a worker has ${nthreads} slots`);
    this.#name = name;
    this.#devices = new Devices(devices);
    this.#slots = new Slots(nthreads);
    this.#functions = new FunctionTable(this.#out);
    this.#data = new DataTable(address, this.#out, this.#outbox);
    this.#memory = new MemoryManager({
      policy: memory,
      data: this.#data,
      ready: this.#ready,
      runs: this.#runs,
      out: this.#out,
    });
  }

  /** Takes in what happened, in order, and answers with what to do, in order. */
  handle(events: readonly WorkerEvent[]): readonly WorkerInstruction[] {
    let nowMs = 0;
    for (const event of events) {
      if (this.#isClosed) break;
      nowMs = event.nowMs;
      this.#take(event);
    }
    if (events.length > 0 && !this.#isClosed) {
      this.#begin(nowMs);
      this.#freeStuck(nowMs);
      this.#data.flush(this.#out);
      this.#outbox.flush(this.#out);
      this.#endDrain(nowMs);
    }
    return this.#out.splice(0);
  }

  /** How much it knows. */
  counts(): WorkerCounts {
    return {
      runs: this.#runs.size,
      ready: this.#ready.size,
      slotted: this.#slots.all().reduce((sum, slot) => sum + slot.runs.size, 0),
      data: this.#data.size,
      functions: this.#functions.size,
      stray: this.#stray,
    };
  }

  /**
   * Checks every index against every other.
   *
   * @throws FarmError `ERR_INTERNAL` naming the first thing that does not hold.
   */
  validate(): void {
    checkWorkerState({
      runs: this.#runs,
      ready: this.#ready,
      slots: this.#slots,
      functions: this.#functions,
      data: this.#data,
      devices: this.#devices,
    });
  }

  #take(event: WorkerEvent): void {
    switch (event.kind) {
      case 'scheduler-said':
        this.#hear(event.message, event.nowMs);
        break;
      case 'runs-ended':
        for (const ended of event.ended) this.#runEnded(ended, event.nowMs);
        break;
      case 'run-erred': {
        const run = this.#begun(event.run);
        const why =
          event.isTerminated === true && this.#drain !== null
            ? this.#takenAlong(event.failure)
            : event.failure;
        if (run !== undefined) this.#runFailed(run, why, event.durationUs, event.nowMs);
        break;
      }
      case 'run-seceded':
        this.#runSeceded(event.run, event.nowMs);
        break;
      case 'slot-emptied':
        this.#slotEmptied(event);
        break;
      case 'runs-withdrawn':
        this.#runsWithdrawn(event);
        break;
      case 'input-fetched':
        this.#makeReady(this.#data.fetched(event.task, event.sizeBytes));
        break;
      case 'input-failed':
        for (const run of this.#data.failed(event.task, event.holders)) {
          this.#outbox.inputMissing(run.run, event.task, event.holders);
          this.#end(run);
        }
        break;
      case 'memory-sampled':
        this.#memory.sampled(event.rssBytes, event.nowMs);
        break;
      case 'value-spilled':
        this.#memory.spilled(event.task, event.transfer);
        break;
      case 'spill-failed':
        this.#memory.spillFailed(event);
        break;
      case 'value-loaded':
        this.#makeReady(this.#memory.loaded(event.task, event.transfer));
        break;
      case 'value-lost':
        for (const run of this.#memory.lost(event.task, event.reason)) {
          this.#outbox.inputMissing(run.run, event.task, []);
          this.#end(run);
        }
        break;
      case 'heartbeat-due':
        this.#metrics = event.metrics;
        this.#beat();
        break;
      case 'woke':
        this.#isWakeAsked = false;
        break;
      case 'drain-asked':
        this.#beginDrain(event.reason, event.restart);
        break;
      case 'close-asked':
        this.#close(event.reason);
        break;
      default:
        event satisfies never;
    }
  }

  #hear(message: WorkerBoundMessage, nowMs: number): void {
    switch (message.op) {
      case 'define-worker-function':
        this.#functions.define(message.fn, message.name, message.spec);
        break;
      case 'forget-functions':
        this.#functions.forget(message.fns);
        break;
      case 'run':
        this.#accept(message);
        break;
      case 'free':
        this.#data.free(message.tasks);
        break;
      case 'stop':
        this.#stop(message.runs, message.running ? 'running' : 'unstarted');
        break;
      case 'put-data':
        this.#put(message);
        break;
      case 'acquire':
        this.#data.acquire(message);
        break;
      case 'close-worker':
        this.#close(this.#drain?.reason ?? message.reason, this.#drain?.restart);
        break;
      case 'restart-worker':
        this.#close(this.#drain?.reason ?? message.reason, this.#drain?.restart ?? true);
        break;
      case 'get-data':
      case 'set-plugin':
      case 'data-failed':
        // The shell's business; said to the core by mistake, it concerns no run.
        this.#strayed(`a ${message.op} message at ${nowMs}`);
        break;
      default:
        message satisfies never;
    }
  }

  #accept(message: Run): void {
    if (this.#isPaused || this.#drain !== null) {
      // It was on its way when the scheduler was told.
      for (const id of message.runs) this.#outbox.stopped(id);
      return;
    }
    const fn = this.#functions.get(message.fn);
    const { resources } = message;
    const needsDevices = this.#devices.areNeededBy(resources);
    for (const [index, id] of message.runs.entries()) {
      const key = blockKey(message, index);
      if (this.#runs.has(id)) {
        this.#strayed(`run ${id} of ${key} given twice`);
        continue;
      }
      if (fn === undefined || message.threads > this.#slots.count) {
        const why =
          fn === undefined
            ? failure(
                'ERR_INTERNAL',
                `function ${message.fn} was never defined`,
                key,
                this.#name,
                null,
              )
            : failure(
                'ERR_NO_WORKER',
                `${key} takes ${message.threads} threads, worker ${this.#name} has ` +
                  `${this.#slots.count}`,
                key,
                this.#name,
                null,
              );
        this.#outbox.failed(id, why, 0);
        continue;
      }
      const devices = message.devices?.[index] ?? null;
      const named = needsDevices ? this.#devices.name({ resources, devices }) : null;
      if (needsDevices && named === null) {
        const asked = resources.map(([name, amount]) => `${name}=${amount}`).join(' ');
        const text = `${key} takes ${asked}, and was not granted as many devices`;
        this.#outbox.failed(id, failure('ERR_INTERNAL', text, key, this.#name, null), 0);
        continue;
      }
      const dependencies = message.dependencies?.[index] ?? [];
      const run: WorkerRun = {
        run: id,
        task: message.tasks[index] ?? -1,
        fn,
        key,
        attempt: message.attempts?.[index] ?? 1,
        args: message.args.subarray(message.ends[index - 1] ?? 0, message.ends[index]),
        inputs: dependencies.map(({ task }) => task),
        threads: Math.max(1, message.threads),
        resources,
        devices,
        named,
        timeoutMs: message.timeoutMs,
        expectedUs: message.expectedUs,
        state: 'waiting',
        missing: 0,
        slot: -1,
        secededFrom: -1,
        chargedUs: 0,
        isWithdrawing: false,
        stop: null,
      };
      fn.runs += 1;
      this.#runs.set(id, run);
      for (const input of dependencies) {
        const ready = this.#data.require(run, input);
        // The run itself is not complete before its last input was looked at.
        this.#makeReady(ready.filter((other) => other !== run));
      }
      if (run.missing === 0) this.#ready.push(run);
    }
  }

  #put({ tasks, values, ends }: PutData): void {
    for (const [index, task] of tasks.entries()) {
      const value = values.subarray(ends[index - 1] ?? 0, ends[index]);
      this.#makeReady(this.#data.put(task, value));
    }
  }

  #makeReady(runs: readonly WorkerRun[]): void {
    for (const run of runs) this.#ready.push(run);
  }

  #runEnded(ended: RunEnded, nowMs: number): void {
    const run = this.#begun(ended.run);
    if (run === undefined) return;
    recordRun(run.fn, ended.durationUs, ended.sizeBytes);
    this.#leaveSlot(run, nowMs);
    this.#outbox.finished(ended);
    if (run.stop !== null) this.#outbox.kept(run.run);
    const ready = this.#data.add(run.task, ended.sizeBytes);
    this.#end(run);
    this.#makeReady(ready);
  }

  #runFailed(run: WorkerRun, why: Failure, durationUs: number, nowMs: number): void {
    this.#leaveSlot(run, nowMs);
    if (run.stop === 'running' && why.code === 'ERR_CANCELLED') {
      // It ended by itself, on being told to.
      this.#outbox.stopped(run.run);
      this.#end(run);
      return;
    }
    const { code, message, origin, worker, error, name } = why;
    const named = failure(
      code,
      message,
      origin === '' ? run.key : origin,
      worker ?? this.#name,
      error,
      name,
    );
    this.#outbox.failed(run.run, named, durationUs);
    if (run.stop !== null) this.#outbox.kept(run.run);
    this.#end(run);
  }

  /** A command that was ended by what ends its worker: it runs elsewhere, if it may. */
  #takenAlong({ message, origin }: Failure): Failure {
    const text = `${message}, as its worker was`;
    return failure('ERR_KILLED_WORKER', text, origin, this.#name, null);
  }

  /** A run goes on without a slot; what it was asked meanwhile is seen to now. */
  #runSeceded(id: number, nowMs: number): void {
    const run = this.#slotted(id);
    if (run === undefined) return;
    const { slot, stop, isWithdrawing } = run;
    this.#slots.leave(run, nowMs);
    run.state = 'seceded';
    run.secededFrom = slot;
    this.#outbox.seceded(id);
    if (isWithdrawing) this.#stopSeceded(run, stop);
  }

  #stopSeceded(run: WorkerRun, stop: WorkerRun['stop']): void {
    const { run: id, key, secededFrom: slot } = run;
    if (stop === 'running') {
      run.stop = stop;
      const reason = `${key} was cancelled`;
      this.#out.push({ do: 'interrupt', slot, run: id, code: 'ERR_CANCELLED', reason });
    } else if (stop === 'unstarted') {
      run.stop = null;
      this.#outbox.kept(id);
    }
  }

  #leaveSlot(run: WorkerRun, nowMs: number): void {
    if (run.state === 'slotted') this.#slots.leave(run, nowMs);
  }

  #slotEmptied(event: SlotEmptied): void {
    const { failed, nowMs } = event;
    if (failed !== null) {
      const run = this.#slotted(failed.run);
      if (run?.stop === 'running') {
        this.#slots.leave(run, nowMs);
        this.#outbox.stopped(run.run);
        this.#end(run);
      } else if (run !== undefined) {
        const durationUs = Math.max(0, (nowMs - this.#slots.at(event.slot).heardMs) * 1_000);
        this.#runFailed(run, failed.failure, durationUs, nowMs);
      }
    }
    // Whatever is left was not started, whether the report names it or not: the slot is clean.
    const slot = this.#slots.at(event.slot);
    this.#strayIfUnknown(event.unstarted);
    this.#takeBack([...slot.runs], nowMs);
  }

  #runsWithdrawn(event: RunsWithdrawn): void {
    const asked = (id: number): WorkerRun | undefined => {
      const run = this.#runs.get(id);
      return run?.slot === event.slot && run.isWithdrawing ? run : undefined;
    };
    this.#takeBack(
      event.withdrawn.flatMap((id) => asked(id) ?? []),
      event.nowMs,
    );
    // What began behind another run shows that the slot goes on: reports are on their way.
    if (event.started.length > 0) this.#slots.at(event.slot).heardMs = event.nowMs;
    for (const id of event.started) {
      const run = asked(id);
      if (run === undefined) continue;
      run.isWithdrawing = false;
      if (run.stop === 'running') {
        const { key, slot } = run;
        const reason = `${key} was cancelled`;
        this.#out.push({ do: 'interrupt', slot, run: id, code: 'ERR_CANCELLED', reason });
      } else if (run.stop === 'unstarted') {
        run.stop = null;
        this.#outbox.kept(id);
      }
    }
  }

  /** Runs that a slot gave back unstarted: they are next, unless nobody wants them. */
  #takeBack(runs: readonly WorkerRun[], nowMs: number): void {
    for (const run of runs) this.#slots.leave(run, nowMs);
    for (const run of runs) {
      if (run.stop === null) continue;
      this.#outbox.stopped(run.run);
      this.#end(run);
    }
    const kept = runs.filter((run) => run.stop === null);
    for (const run of kept) {
      run.state = 'waiting';
      this.#data.requireAgain(run);
    }
    this.#ready.pushFront(kept.filter((run) => run.missing === 0));
  }

  /** Gives slots what is ready, as far as there is memory for it, and sees to the memory. */
  #begin(nowMs: number): void {
    const { fn } = this.#ready.peek() ?? { fn: null };
    const busy = this.#slots.all().flatMap(({ runs: [first] }) => first?.fn ?? []);
    const before = this.#out.length;
    if (this.#memory.makeRoom(fn, busy, nowMs)) this.#slots.fill(this.#ready, nowMs, this.#out);
    moveInputs(this.#out, before, this.#data, this.#runs);
    const isBusy = this.#ready.size > 0 || this.#slots.executing().length > 0;
    this.#memory.balance(nowMs, isBusy);
    if (this.#memory.isPaused === this.#isPaused) return;
    this.#isPaused = !this.#isPaused;
    this.#pausedOrResumed();
  }

  /** Pausing began or ended: the scheduler hears at once, and gets back what was not started. */
  #pausedOrResumed(): void {
    this.#beat();
    if (this.#isPaused) this.#handBack();
  }

  #handBack(): void {
    const unstarted = [...this.#runs.values()].filter(
      (run) => run.state === 'waiting' || run.state === 'ready',
    );
    const behind = this.#slots.all().flatMap((slot) => waitingInSlot(slot));
    this.#stop(
      [...unstarted, ...behind].map(({ run }) => run),
      'unstarted',
    );
  }

  #beat(): void {
    const metrics = this.#metrics;
    if (metrics === null) return;
    const { spilledBytes } = this.#data;
    const told = workerMetrics({ ...metrics, spilledBytes, paused: this.#isPaused });
    const seceded = [...this.#runs.values()].filter((run) => run.state === 'seceded');
    const executing = [...this.#slots.executing(), ...seceded.map(({ run }) => run)];
    this.#outbox.message(workerHeartbeat(told, executing));
  }

  #stop(ids: readonly number[], stop: 'running' | 'unstarted'): void {
    const withdrawn = new Map<number, number[]>();
    for (const id of ids) {
      const run = this.#runs.get(id);
      if (run === undefined) {
        // Ended already: its end is on its way to the scheduler.
        this.#outbox.kept(id);
        continue;
      }
      if (run.state === 'seceded') {
        if (run.stop !== 'running') this.#stopSeceded(run, stop);
        continue;
      }
      if (run.state !== 'slotted') {
        this.#outbox.stopped(id);
        this.#end(run);
        continue;
      }
      if (run.stop !== 'running') run.stop = stop;
      if (run.isWithdrawing) continue;
      run.isWithdrawing = true;
      const runs = withdrawn.get(run.slot) ?? [];
      runs.push(id);
      withdrawn.set(run.slot, runs);
    }
    for (const [slot, runs] of withdrawn) this.#out.push({ do: 'withdraw', slot, runs });
  }

  /** Takes back what waits behind a run that takes surprisingly long while another slot is idle. */
  #freeStuck(nowMs: number): void {
    const { slots, lookAgainMs } = this.#slots.stuck(nowMs);
    for (const slot of slots) {
      const runs = waitingInSlot(slot);
      for (const run of runs) run.isWithdrawing = true;
      this.#out.push({ do: 'withdraw', slot: slot.index, runs: runs.map(({ run }) => run) });
    }
    if (lookAgainMs === null || this.#isWakeAsked) return;
    this.#isWakeAsked = true;
    this.#out.push({ do: 'wake', afterMs: lookAgainMs });
  }

  /** It is to end, once what executes has ended. Said again, a restart may be called off. */
  #beginDrain(reason: string, restart: boolean): void {
    const before = this.#drain;
    this.#drain = {
      reason,
      restart: restart && before?.restart !== false,
      waitingSinceMs: before?.waitingSinceMs ?? null,
    };
    if (before !== null) return;
    this.#outbox.message(draining(reason));
    this.#handBack();
  }

  /** What waits for other tasks while nothing else runs may wait for ever: they need a worker. */
  #endDrain(nowMs: number): void {
    const drain = this.#drain;
    if (drain === null) return;
    const isWaiting =
      this.#runs.size > 0 && [...this.#runs.values()].every(({ state }) => state === 'seceded');
    drain.waitingSinceMs = isWaiting ? (drain.waitingSinceMs ?? nowMs) : null;
    if (!isWaiting || nowMs - (drain.waitingSinceMs ?? nowMs) < DRAIN_WAITING_MS) return;
    this.#close(drain.reason, drain.restart);
  }

  #close(reason: string, isRestart: boolean = false): void {
    for (const run of this.#runs.values()) {
      if (run.state === 'slotted' || run.state === 'seceded') continue;
      this.#outbox.stopped(run.run);
    }
    this.#outbox.flush(this.#out);
    this.#out.push({ do: 'to-scheduler', message: leaving(reason) });
    this.#out.push(isRestart ? { do: 'exit', reason, restart: true } : { do: 'exit', reason });
    this.#isClosed = true;
  }

  /** A run is over, in whatever way: nothing of it stays. */
  #end(run: WorkerRun): void {
    if (run.state === 'ready') this.#ready.remove(run);
    run.state = 'gone';
    this.#runs.delete(run.run);
    this.#data.release(run);
    this.#functions.release(run.fn);
  }

  /** A run that may end, in a slot or without one. */
  #begun(id: number): WorkerRun | undefined {
    const run = this.#runs.get(id);
    return run?.state === 'seceded' ? run : this.#slotted(id);
  }

  /** A run that a slot may report about; reports about others are counted and dropped. */
  #slotted(id: number): WorkerRun | undefined {
    const run = this.#runs.get(id);
    if (run?.state === 'slotted') return run;
    this.#strayed(`a report about run ${id}`);
    return undefined;
  }

  #strayIfUnknown(ids: readonly number[]): void {
    for (const id of ids) {
      if (this.#runs.get(id)?.state !== 'slotted') this.#strayed(`an unstarted run ${id}`);
    }
  }

  #strayed(what: string): void {
    this.#stray += 1;
    this.#out.push({ do: 'log', level: 'debug', message: `ignored: ${what}` });
  }
}

function blockKey(message: Run, index: number): string {
  const at = message.indices?.[index];
  return at === undefined ? message.key : `${message.key}-${at}`;
}

import { stopped } from '@farm/protocol/core';

import type { FakeWorker, SchedulerHarness, ToldRun } from './scheduler-harness.ts';

/** What a task of the simulated cluster takes and makes. */
export interface Work {
  readonly durationMs: number;
  /** Bytes of the result, which stays on the worker. */
  readonly size: number;
}

const HEARTBEAT_MS = 500;

interface Slotted {
  readonly worker: FakeWorker;
  readonly run: ToldRun;
  readonly endMs: number;
}

/**
 * Plays workers on a virtual clock: each runs what it was told in that order, as many at once as it
 * has slots; inputs come at once. Unstarted runs are given up when asked for, started ones kept.
 */
export class VirtualWorkers {
  readonly #farm: SchedulerHarness;
  readonly #slots: Map<FakeWorker, number>;
  readonly #work: (key: string) => Work;
  #running: Slotted[] = [];
  #beatMs: number;
  /** Who made the result of which task. */
  readonly #made = new Map<number, { readonly key: string; readonly worker: string }>();
  /** Keys in the order in which they were started, with the worker. */
  readonly started: [key: string, worker: string][] = [];
  /** Runs that workers gave up for others. */
  moved = 0;
  /** Keys that run now, with the worker. */
  get running(): readonly (readonly [key: string, worker: string])[] {
    return this.#running.map(({ run, worker }) => [run.key, worker.name]);
  }

  /** Called after each step. */
  onStep: () => void = () => {};

  constructor(farm: SchedulerHarness, slots: Map<FakeWorker, number>, work: (key: string) => Work) {
    this.#farm = farm;
    this.#slots = slots;
    this.#work = work;
    this.#beatMs = farm.nowMs + HEARTBEAT_MS;
  }

  /** One more worker. */
  add(worker: FakeWorker, slots: number): void {
    this.#slots.set(worker, slots);
  }

  /** Ends of runs, in order of time, until `isOver`, or until nothing runs any more. */
  play(isOver: () => boolean = () => false): void {
    for (;;) {
      this.#answer();
      this.#start();
      if (isOver()) return;
      const next = this.#running.toSorted((a, b) => a.endMs - b.endMs)[0];
      if (next === undefined) return;
      if (this.#beatMs < next.endMs) {
        this.#farm.nowMs = this.#beatMs;
        this.#beatMs += HEARTBEAT_MS;
        for (const worker of this.#slots.keys()) worker.beat(...this.#executing(worker));
      } else {
        this.#running = this.#running.filter((other) => other !== next);
        this.#farm.nowMs = next.endMs;
        const { key, task } = next.run;
        this.#made.set(task, { key, worker: next.worker.name });
        const { size, durationMs } = this.#work(key);
        next.worker.finishLarge(key, size, durationMs * 1_000);
      }
      this.onStep();
    }
  }

  /** Results of keys that begin so: on each worker, those it made that are left, and all it holds. */
  results(prefix: string): { readonly made: number; readonly data: number }[] {
    const held = new Set<number>();
    for (const { data } of this.#slots.keys()) for (const task of data) held.add(task);
    return [...this.#slots.keys()].map(({ name, data }) => {
      const isOne = (task: number): boolean =>
        this.#made.get(task)?.key.startsWith(prefix) === true;
      const made = [...held].filter((task) => this.#made.get(task)?.worker === name);
      return { made: made.filter(isOne).length, data: [...data].filter(isOne).length };
    });
  }

  #executing(worker: FakeWorker): number[] {
    return this.#running.filter((run) => run.worker === worker).map(({ run }) => run.run);
  }

  #answer(): void {
    for (const worker of this.#slots.keys()) {
      const asked = worker.stopping.splice(0);
      if (asked.length === 0) continue;
      const executing = new Set(this.#executing(worker));
      const kept = asked.filter((run) => executing.has(run));
      const gone = asked.filter((run) => !executing.has(run));
      worker.runs = worker.runs.filter(({ run }) => !gone.includes(run));
      this.moved += gone.length;
      worker.say(stopped(gone, kept));
    }
  }

  #start(): void {
    for (const [worker, slots] of this.#slots) {
      const executing = new Set(this.#executing(worker));
      for (const run of [...worker.runs]) {
        if (executing.size >= slots) break;
        if (executing.has(run.run) || !worker.runs.includes(run)) continue;
        const missing = run.inputs.map(({ task }) => task).filter((task) => !worker.data.has(task));
        if (missing.length > 0) worker.hold(...missing);
        executing.add(run.run);
        const endMs = this.#farm.nowMs + this.#work(run.key).durationMs;
        this.#running.push({ worker, run, endMs });
        this.started.push([run.key, worker.name]);
      }
    }
  }
}

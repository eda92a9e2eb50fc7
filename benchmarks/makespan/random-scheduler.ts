import { defineWorkerFunction, results, run, runDependency, u32At } from '@farm/protocol/core';
import type {
  ClientMessage,
  Finished,
  Submit,
  WorkerBoundMessage,
  WorkerMessage,
} from '@farm/protocol/core';
import type { SchedulerEvent, SchedulerInstruction } from '@farm/scheduler/core';

import type { Random } from '../../sim/prng.ts';

interface RandomTask {
  readonly number: number;
  readonly fn: number;
  readonly dependencies: readonly RandomTask[];
  readonly dependents: RandomTask[];
  missing: number;
  size: number;
  value: Uint8Array | null;
  readonly holders: string[];
}

/**
 * A scheduler for comparison: a task goes to a worker at random as soon as its inputs are there,
 * and stays there, as with the `random` scheduler of rsds. It speaks the same messages and hands
 * small values on in the same way.
 */
export class RandomScheduler {
  readonly #random: Random;
  readonly #workers: string[] = [];
  readonly #told = new Map<string, Set<number>>();
  readonly #functions = new Map<string, number>();
  readonly #tasks: RandomTask[] = [];
  readonly #out: SchedulerInstruction[] = [];

  constructor(random: Random) {
    this.#random = random;
  }

  /** As of `SchedulerCore`. */
  handle(events: readonly SchedulerEvent[]): readonly SchedulerInstruction[] {
    for (const event of events) {
      if (event.kind === 'worker-connected') {
        this.#workers.push(event.worker);
        this.#told.set(event.worker, new Set());
      } else if (event.kind === 'client-said') this.#hearClient(event.message);
      else if (event.kind === 'worker-said') this.#hearWorker(event.worker, event.message);
    }
    return this.#out.splice(0);
  }

  #hearClient(message: ClientMessage): void {
    if (message.op === 'define-function') {
      this.#functions.set(message.hash, this.#functions.size);
    } else if (message.op === 'submit') this.#submit(message);
  }

  #submit({ first, count, fn, depsColumn, depEndsColumn }: Submit): void {
    for (let index = 0; index < count; index++) {
      const dependencies: RandomTask[] = [];
      if (depsColumn !== null && depEndsColumn !== null) {
        const end = u32At(depEndsColumn, index);
        for (let at = index === 0 ? 0 : u32At(depEndsColumn, index - 1); at < end; at++) {
          const found = this.#tasks[u32At(depsColumn, at)];
          if (found !== undefined) dependencies.push(found);
        }
      }
      const task: RandomTask = {
        number: first + index,
        fn: this.#functions.get(fn) ?? -1,
        dependencies,
        dependents: [],
        missing: 0,
        size: 0,
        value: null,
        holders: [],
      };
      this.#tasks[task.number] = task;
      for (const dependency of dependencies) {
        dependency.dependents.push(task);
        if (dependency.size === 0) task.missing += 1;
      }
      if (task.missing === 0) this.#start(task);
    }
  }

  #start({ number, fn, dependencies }: RandomTask): void {
    const worker = this.#random.pick(this.#workers);
    const told = this.#told.get(worker);
    if (told?.has(fn) === false) {
      told.add(fn);
      this.#say(worker, defineWorkerFunction(fn, `f${fn}`, new Uint8Array(1)));
    }
    const inputs = dependencies.map(({ number: task, size, value, holders }) => {
      const others = holders.filter((holder) => holder !== worker);
      const isThere = others.length < holders.length;
      return runDependency(
        task,
        size,
        isThere || value === null ? others : [],
        isThere ? null : value,
      );
    });
    const message = run({
      fn,
      key: String(number),
      indices: null,
      tasks: [number],
      runs: [number],
      args: new Uint8Array(0),
      ends: [0],
      dependencies: inputs.length === 0 ? null : [inputs],
      threads: 1,
      resources: [],
      timeoutMs: null,
      attempts: null,
      expectedUs: null,
    });
    this.#say(worker, message);
  }

  #hearWorker(worker: string, message: WorkerMessage): void {
    if (message.op === 'holding') {
      for (const task of message.tasks) this.#tasks[task]?.holders.push(worker);
    } else if (message.op === 'finished') this.#finished(worker, message);
    else if (message.op !== 'worker-heartbeat') throw new Error(`a worker said ${message.op}`);
  }

  #finished(worker: string, { runs, sizes, values, ends, durationsUs }: Finished): void {
    for (const [index, number] of runs.entries()) {
      const task = this.#tasks[number];
      if (task === undefined) continue;
      const start = ends[index - 1] ?? 0;
      const end = ends[index] ?? start;
      task.size = sizes[index] ?? 1;
      task.value = end > start ? values.subarray(start, end) : null;
      task.holders.push(worker);
      for (const dependent of task.dependents) {
        dependent.missing -= 1;
        if (dependent.missing === 0) this.#start(dependent);
      }
    }
    const message = results({
      ids: runs,
      sizes,
      values: new Uint8Array(0),
      ends: runs.map(() => 0),
      durationsUs,
      ranOn: runs.map(() => 0),
      workers: [worker],
    });
    this.#out.push({ do: 'to-client', client: 'client', message });
  }

  #say(worker: string, message: WorkerBoundMessage): void {
    this.#out.push({ do: 'to-worker', worker, message });
  }
}

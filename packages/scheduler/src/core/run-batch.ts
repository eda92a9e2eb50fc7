import { runDependency } from '@farm/protocol/core';
import type { GrantedPlaces, Run, RunDependency } from '@farm/protocol/core';

import { eachItem, hasItem } from './collections/one-or-many.ts';
import type { DeviceGrant } from './resources.ts';
import { argEnd, argStart } from './state.ts';
import type { Assignment, Block, Requirement, TaskState, WorkerState } from './state.ts';

/** Runs and bytes after which a message is full and another is begun. */
const RUNS_MAX = 65_536;
const BYTES_MAX = 4_194_304;
/** Bytes of input values that come along with one run; inputs beyond are fetched. */
const INPUT_BYTES_MAX = 1_048_576;
/** Addresses named for one input. */
const HOLDERS_MAX = 8;

/** Runs of one block for one worker, growing. */
export class RunBatch {
  /** Of which all tasks are. */
  readonly block: Block;
  /** What all of them are granted. */
  readonly requirement: Requirement;
  readonly #indices: number[];
  readonly #runs: number[];
  #attempts: number[] | null = null;
  #dependencies: (readonly RunDependency[])[] | null = null;
  #devices: GrantedPlaces[] | null = null;
  #argBytes = 0;
  #inputBytes = 0;

  /** The first run; many are the only one. */
  constructor(task: TaskState, assignment: Assignment) {
    this.block = task.block;
    this.requirement = assignment.requirement;
    this.#indices = [task.index];
    this.#runs = [assignment.run];
    const attempt = task.trouble?.attempts ?? 1;
    if (attempt > 1) this.#attempts = [attempt];
    if (task.dependencies.length > 0) {
      this.#dependencies = [this.#inputs(task, assignment.worker)];
    }
    this.#note(task, assignment);
  }

  /** Whether another message is to be begun. */
  get isFull(): boolean {
    return this.#runs.length >= RUNS_MAX || this.#argBytes + this.#inputBytes >= BYTES_MAX;
  }

  /** One more run of a task of the block, on the worker that the message goes to. */
  add(task: TaskState, assignment: Assignment): void {
    const attempt = task.trouble?.attempts ?? 1;
    if (attempt > 1) this.#attempts ??= this.#indices.map(() => 1);
    this.#attempts?.push(attempt);
    if (task.dependencies.length > 0) this.#dependencies ??= this.#indices.map(() => []);
    this.#dependencies?.push(this.#inputs(task, assignment.worker));
    this.#indices.push(task.index);
    this.#runs.push(assignment.run);
    this.#note(task, assignment);
  }

  #note({ index }: TaskState, { devices }: Assignment): void {
    // All of them need the same, and all workers know which of that stands for devices.
    if (devices !== null) (this.#devices ??= []).push(this.#places(devices));
    this.#argBytes += argEnd(this.block, index) - argStart(this.block, index);
  }

  /** Small values come along, unless the worker has them; others are named with their holders. */
  #inputs(task: TaskState, worker: WorkerState): RunDependency[] {
    let room = INPUT_BYTES_MAX;
    return (task.inputs ?? task.dependencies).map((input) => {
      const { number, size, valueAt, block } = input;
      this.#inputBytes += 32;
      if (valueAt >= 0 && size <= room && !hasItem(input.holders, worker)) {
        room -= size;
        this.#inputBytes += size;
        return runDependency(number, size, [], block.values?.get(valueAt, size) ?? null);
      }
      return runDependency(number, size, holderAddresses(input, worker), null);
    });
  }

  #places(devices: NonNullable<DeviceGrant>): GrantedPlaces {
    return this.requirement.needs.map(({ name }) =>
      (devices.get(name) ?? []).map(({ place }) => place),
    );
  }

  /** The message. */
  build(): Run {
    const { naming, first, fn, timeoutMs } = this.block;
    const { requirement } = this;
    const from = naming.indexFrom;
    const { args, ends } = this.#arguments();
    // Made in place: there is one for almost every run, and a copy of what `run` takes is no use.
    return {
      op: 'run',
      fn: fn.number,
      key: naming.key,
      indices: from === null ? null : this.#indices.map((index) => from + index),
      tasks: this.#indices.map((index) => first + index),
      runs: this.#runs,
      args,
      ends,
      dependencies: this.#dependencies,
      threads: requirement.threads,
      resources: requirement.granted,
      devices: this.#devices,
      timeoutMs,
      attempts: this.#attempts,
      expectedUs: fn.prefix.meanUs,
    };
  }

  /** Consecutive tasks share one view of the block's arguments; others are put together. */
  #arguments(): { readonly args: Uint8Array; readonly ends: readonly number[] } {
    const block = this.block;
    const indices = this.#indices;
    const firstIndex = indices[0] ?? 0;
    if (indices.length === 1) {
      const start = argStart(block, firstIndex);
      const end = argEnd(block, firstIndex);
      return { args: block.args.subarray(start, end), ends: [end - start] };
    }
    const ends: number[] = [];
    let isContiguous = true;
    for (let i = 0; i < indices.length; i++) {
      if (indices[i] !== firstIndex + i) isContiguous = false;
    }
    if (isContiguous) {
      const start = argStart(block, firstIndex);
      for (const index of indices) ends.push(argEnd(block, index) - start);
      return { args: block.args.subarray(start, start + (ends.at(-1) ?? 0)), ends };
    }
    const args = new Uint8Array(this.#argBytes);
    let at = 0;
    for (const index of indices) {
      const start = argStart(block, index);
      const end = argEnd(block, index);
      args.set(block.args.subarray(start, end), at);
      at += end - start;
      ends.push(at);
    }
    return { args, ends };
  }
}

/** Where a worker can fetch a result from: those on its own host first. */
export function holderAddresses(task: TaskState, worker: WorkerState): string[] {
  const near: string[] = [];
  const far: string[] = [];
  for (const { hello } of eachItem(task.holders)) {
    if (hello === worker.hello || hello.address === null) continue;
    (hello.host === worker.hello.host ? near : far).push(hello.address);
    if (near.length >= HOLDERS_MAX) break;
  }
  return [...near, ...far].slice(0, HOLDERS_MAX);
}

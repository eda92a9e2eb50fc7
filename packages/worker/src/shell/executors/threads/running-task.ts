import { FarmError, type ErrorCode, type ResourceAmounts } from '@farm/protocol/core';
import { type AllocateMemory, makeResultArray, type TypedArrayKind } from '@farm/protocol/value';
import { AsyncLocalStorage } from 'node:async_hooks';
import { format } from 'node:util';

import type { RunDevices, SchedulerContact } from '../executor.ts';
import { setVariables } from './task-variables.ts';
import { getClient } from './task-functions.ts';
import { TASK_CONTEXT, type TaskContext, taskContext } from './task-context.ts';

/** Shortest time between two lines about one run's progress. */
const PROGRESS_MS = 1_000;

const current = new AsyncLocalStorage<RunningTask>();

/** What a {@link RunningTask} is made of. */
export interface RunningTaskOptions {
  readonly key: string;
  readonly worker: string;
  readonly slot: number;
  readonly attempt: number;
  readonly resources: ResourceAmounts;
  readonly devices: RunDevices | undefined;
  readonly scheduler: SchedulerContact | undefined;
  /** Told once, when the task looks at its signal. */
  readonly tookSignal: () => void;
  /** Memory for arrays that are to be its result. @default plain memory */
  readonly allocate?: AllocateMemory;
}

/** A run while its code executes, and for as long as anything that the code began refers to it. */
export class RunningTask implements TaskContext {
  readonly key: string;
  readonly worker: string;
  readonly slot: number;
  readonly attempt: number;
  readonly resources: ResourceAmounts;
  readonly devices: Readonly<Record<string, readonly string[]>>;
  readonly scheduler: SchedulerContact | undefined;
  /** It goes on without its slot. */
  hasSeceded = false;
  /** Told once, when it begins to. */
  onSecede: (() => void) | undefined;
  /** Its end was reported: what still happens in its name happens behind its back. */
  isOver = false;
  readonly #tookSignal: () => void;
  readonly #variables: RunDevices['variables'];
  readonly #allocate: AllocateMemory | undefined;
  #controller: AbortController | undefined;
  #toldMs = -Infinity;

  constructor(options: RunningTaskOptions) {
    this.key = options.key;
    this.worker = options.worker;
    this.slot = options.slot;
    this.attempt = options.attempt;
    this.resources = options.resources;
    this.devices = Object.fromEntries(options.devices?.granted ?? []);
    this.#variables = options.devices?.variables ?? [];
    this.scheduler = options.scheduler;
    this.#tookSignal = options.tookSignal;
    this.#allocate = options.allocate;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      this.#tookSignal();
    }
    return this.#controller.signal;
  }

  /**
   * Sets the variables that tell of its devices, for as long as it has the slot.
   *
   * @returns what takes them back
   */
  enter(): () => void {
    return setVariables(this.#variables);
  }

  /** Asks the task to end. */
  abort(code: ErrorCode, message: string): void {
    this.#controller?.abort(new FarmError(code, message));
  }

  secede(): void {
    if (this.hasSeceded || this.isOver) return;
    this.hasSeceded = true;
    this.onSecede?.();
  }

  resultArray<A extends ArrayBufferView>(kind: TypedArrayKind<A>, length: number): A {
    return makeResultArray(kind, length, this.#allocate);
  }

  log(...words: readonly unknown[]): void {
    process.stderr.write(`${this.key}: ${format(...words)}\n`);
  }

  progress(fraction: number, words: string = ''): void {
    if (!(typeof fraction === 'number' && fraction >= 0 && fraction <= 1)) {
      throw new FarmError('ERR_ARGUMENT', `progress ${String(fraction)} is not from 0 to 1`);
    }
    const nowMs = performance.now();
    if (nowMs - this.#toldMs < PROGRESS_MS && fraction < 1) return;
    this.#toldMs = nowMs;
    this.log(`${Math.round(fraction * 100)} %`, ...(words === '' ? [] : [words]));
  }
}

/** The task whose code, or whose callback, executes; undefined for code of nobody. */
export function currentTask(): RunningTask | undefined {
  return current.getStore();
}

/** Calls a function as part of a task: what it begins belongs to the task, too. */
export function inTask<Result>(task: RunningTask, act: () => Result): Result {
  return current.run(task, act);
}

/** Makes contexts reachable for tasks, by symbol and by name. To be called once in a thread. */
export function provideTaskContext(): void {
  const get = (): TaskContext | undefined => current.getStore();
  Object.defineProperty(globalThis, TASK_CONTEXT, { get, configurable: true });
  for (const [name, value] of Object.entries({ taskContext, getClient })) {
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
  }
}

/**
 * Waits for the end of a run, or for it to secede.
 *
 * @returns its outcome; undefined where it goes on without its slot
 */
export function endOrSecession<Outcome>(
  task: RunningTask,
  running: Promise<Outcome>,
): Promise<Outcome | undefined> {
  return new Promise((resolve, reject) => {
    running.then(resolve, reject);
    task.onSecede = () => resolve(undefined);
    if (task.hasSeceded) resolve(undefined);
  });
}

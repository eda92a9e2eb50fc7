import type { Failure, ResourceAmounts } from '@farm/protocol/core';
import type { FunctionSpec } from '@farm/protocol';

import type { GrantedDevices } from '../../core/index.ts';

/** Devices that a run was granted. */
export interface RunDevices {
  readonly granted: GrantedDevices;
  /** Variables of its environment, which tell programs and libraries of them. */
  readonly variables: readonly (readonly [name: string, value: string])[];
}

/** A run as an executor gets it: everything needed, nothing to look up. */
export interface ExecutorRun {
  readonly run: number;
  readonly key: string;
  /** From 1. */
  readonly attempt: number;
  /** The encoded argument list. */
  readonly args: Uint8Array;
  /** Encoded values that replace the arguments' references, in order. */
  readonly inputs: readonly Uint8Array[];
  /** Inputs that are the run's own: their memory may move to where it executes. @default none */
  readonly movable?: ReadonlySet<Uint8Array>;
  /**
   * Inputs in shared memory that the run may have as it is: threads do, processes get a copy.
   * @default none
   */
  readonly shared?: ReadonlySet<Uint8Array>;
  /** From the run's start; null means no limit. A run with a limit is always given alone. */
  readonly timeoutMs: number | null;
  readonly resources: ResourceAmounts;
  /** @default none */
  readonly devices?: RunDevices | undefined;
}

/** Where a client in a task connects to: the scheduler as the worker was told of it. */
export type SchedulerContact = { readonly schedulerFile: string } | { readonly address: string };

/** What an executor reports. Called from the event loop, never from inside `execute`. */
export interface ExecutorHandlers {
  /** Runs that ended well, with their encoded results (owned by the receiver). */
  ended(slot: number, results: readonly ExecutorResult[]): void;
  /**
   * A run that failed; the slot goes on. `isTerminated`: by a SIGTERM that this worker did not send,
   * and that it may get itself.
   */
  erred(slot: number, run: number, why: Failure, durationUs: number, isTerminated?: boolean): void;
  /**
   * A run waits for other tasks: the slot goes on with others, and this one ends by `ended` or
   * `erred` all the same, also where its thread or process ends; `interrupt` reaches it.
   */
  seceded(slot: number, run: number): void;
  /**
   * The slot was emptied (interrupt, timeout, crash); it is clean and free again. Every run the
   * slot had is accounted for: its end was reported before, or it is `failed`, or among
   * `unstarted`; that holds for runs given after an `interrupt`, too. `failed` is null where the
   * interrupted run ended by itself in the meantime.
   */
  emptied(
    slot: number,
    failed: { readonly run: number; readonly failure: Failure } | null,
    unstarted: readonly number[],
  ): void;
  /** Text a function wrote to stdout or stderr, in whole lines; or farm's own note on a slot. */
  output(slot: number, stream: 'stdout' | 'stderr', text: string): void;
}

/** One result. */
export interface ExecutorResult {
  readonly run: number;
  readonly value: Uint8Array;
  readonly durationUs: number;
}

/**
 * Runs functions or commands in numbered slots. One slot runs one thing at a time and survives
 * whatever that thing does.
 */
export interface Executor {
  /** Makes a function known. */
  define(fn: number, name: string, spec: FunctionSpec): void;
  forget(fns: readonly number[]): void;
  /** Appends runs to a slot's list. */
  execute(slot: number, fn: number, runs: readonly ExecutorRun[]): void;
  /** Takes back runs that have not started; exact and synchronous. */
  withdraw(
    slot: number,
    runs: readonly number[],
  ): { readonly withdrawn: readonly number[]; readonly started: readonly number[] };
  /** Terminates what executes this run, then reports `emptied`; false where it is not executing. */
  interrupt(slot: number, run: number, why: Failure): boolean;
  /** Runs that have started and not ended, over all slots. */
  executing(): readonly number[];
  /**
   * Memory of the function that a run executes, where it can be told apart from that of others: the
   * heap and buffers of its thread, or its process. Undefined where the run does not execute.
   */
  memoryBytes?(slot: number, run: number): Promise<number | undefined>;
  /** Gives up memory that was shared with runs which have ended. */
  collect?(): void;
  /** What starts from now on finds these variables, or finds them no more (null). */
  setEnvironment(changes: Readonly<Record<string, string | null>>): void;
  /** Terminates everything. */
  close(): Promise<void>;
}

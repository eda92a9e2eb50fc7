/** Everything the worker's core can ask its shell to do. Instructions are performed in order. */
import type { ResourceAmounts, WorkerMessage } from '@farm/protocol/core';

import type { GrantedDevices } from './device-pool.ts';

/** Send a message to the scheduler. */
export interface ToScheduler {
  readonly do: 'to-scheduler';
  readonly message: WorkerMessage;
}

/** A run as a slot gets it. */
export interface SlotRun {
  readonly run: number;
  readonly task: number;
  readonly key: string;
  /** From 1. */
  readonly attempt: number;
  readonly args: Uint8Array;
  /** Tasks whose results (in the store) replace the arguments' references, in order. */
  readonly inputs: readonly number[];
  /** Inputs that the store gives away to the run: nobody else here needs them. @default none */
  readonly moved?: readonly number[];
  readonly timeoutMs: number | null;
  readonly resources: ResourceAmounts;
  /** Devices it has to itself, or a share of; null where no resource stands for devices. */
  readonly devices: GrantedDevices | null;
}

/**
 * Give runs of one function to a slot, which executes them in order and reports each. The slot
 * keeps the runs it was given before.
 */
export interface Execute {
  readonly do: 'execute';
  readonly slot: number;
  readonly fn: number;
  readonly runs: readonly SlotRun[];
}

/**
 * Take back runs from a slot that has not started them. Answered by `runs-withdrawn`, which tells
 * exactly which were taken back and which had started.
 */
export interface Withdraw {
  readonly do: 'withdraw';
  readonly slot: number;
  readonly runs: readonly number[];
}

/**
 * Stop a run that has started: what runs it is terminated and the slot emptied (`slot-emptied`).
 * Ended already: nothing, its end is on the way.
 */
export interface Interrupt {
  readonly do: 'interrupt';
  readonly slot: number;
  readonly run: number;
  /** Why, for the run's failure. */
  readonly code: 'ERR_CANCELLED';
  readonly reason: string;
}

/** Keep a small input under a task's number. The bytes may be a view of a frame: copy them. */
export interface Keep {
  readonly do: 'keep';
  readonly task: number;
  readonly value: Uint8Array;
}

/** Drop these results and inputs from the store. */
export interface Drop {
  readonly do: 'drop';
  readonly tasks: readonly number[];
}

/** Bring an input into the store, from one of these peers or, if none answers, by relay. */
export interface Fetch {
  readonly do: 'fetch';
  /** Function of the run that needs it; null where it is fetched for another reason. */
  readonly fn: number | null;
  readonly task: number;
  readonly sizeBytes: number;
  readonly holders: readonly string[];
}

/**
 * Write a value to a file, and keep it in memory. Answered by `value-spilled` or `spill-failed` with
 * the same number.
 */
export interface Spill {
  readonly do: 'spill';
  readonly task: number;
  readonly transfer: number;
}

/** Give up the memory of a value that a file has. */
export interface Evict {
  readonly do: 'evict';
  readonly task: number;
}

/**
 * Read a spilled value into memory. Answered by `value-loaded` with the same number, or `value-lost`.
 */
export interface Load {
  readonly do: 'load';
  readonly task: number;
  readonly transfer: number;
}

/** Return the memory of what was given up to the system: it is scarce. */
export interface Collect {
  readonly do: 'collect';
}

/** Make a function known to the slots. */
export interface Define {
  readonly do: 'define';
  readonly fn: number;
  readonly name: string;
  readonly spec: Uint8Array;
}

/** Forget functions. */
export interface Forget {
  readonly do: 'forget';
  readonly fns: readonly number[];
}

/** Write a line to the log. */
export interface Log {
  readonly do: 'log';
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly message: string;
}

/** Come back with a `woke` event. At most one is asked for at a time. */
export interface Wake {
  readonly do: 'wake';
  readonly afterMs: number;
}

/** Close everything and exit. */
export interface Exit {
  readonly do: 'exit';
  readonly reason: string;
  /** The nanny is to start another process. */
  readonly restart?: true;
}

/** What to do. */
export type WorkerInstruction =
  | ToScheduler
  | Execute
  | Withdraw
  | Interrupt
  | Keep
  | Drop
  | Fetch
  | Spill
  | Evict
  | Load
  | Collect
  | Define
  | Forget
  | Log
  | Wake
  | Exit;

import { invariant } from '@farm/protocol/core';

import { DataTable } from './data-table.ts';
import { Devices, type DeviceResource } from './devices.ts';
import { FunctionTable } from './function-table.ts';
import type { WorkerInstruction } from './instructions.ts';
import { MemoryManager } from './memory-manager.ts';
import type { MemoryPolicy } from './memory-policy.ts';
import { Outbox } from './outbox.ts';
import { ReadyQueue } from './ready-queue.ts';
import type { WorkerRun } from './run.ts';
import { Slots } from './slots.ts';

/** Options of `WorkerCore`. */
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

/** It is to end, see `Draining` of the protocol. */
export interface Drain {
  readonly reason: string;
  readonly restart: boolean;
  /** Since when all that runs waits for other tasks. */
  waitingSinceMs: number | null;
}

/** Everything a worker's core knows. */
export class WorkerState {
  readonly name: string;
  readonly runs: Map<number, WorkerRun> = new Map();
  readonly ready: ReadyQueue = new ReadyQueue();
  readonly slots: Slots;
  readonly devices: Devices;
  readonly functions: FunctionTable;
  readonly data: DataTable;
  readonly memory: MemoryManager;
  readonly outbox: Outbox = new Outbox();
  /** What the shell is to do, until `handle` returns it. */
  readonly out: WorkerInstruction[] = [];
  isPaused = false;
  /** Null while it takes runs. */
  drain: Drain | null = null;
  isClosed = false;
  isWakeAsked = false;
  /** Reports about runs or inputs that are not known (any more). */
  stray = 0;

  constructor(options: WorkerCoreOptions) {
    const { nthreads, name, address, memory: policy = null, devices = [] } = options;
    invariant(Number.isInteger(nthreads) && nthreads >= 1, `a worker has ${nthreads} slots`);
    const { ready, runs, out, outbox } = this;
    this.name = name;
    this.devices = new Devices(devices);
    this.slots = new Slots(nthreads);
    this.functions = new FunctionTable(out);
    this.data = new DataTable(address, out, outbox);
    this.memory = new MemoryManager({ policy, data: this.data, ready, runs, out });
  }
}

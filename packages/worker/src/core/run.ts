import type { GrantedPlaces, ResourceAmounts } from '@farm/protocol/core';

import type { GrantedDevices } from './devices.ts';
import type { KnownFunction } from './function-table.ts';

/**
 * Where a run is. `waiting`: for inputs. `ready`: for a slot. `slotted`: given to a slot, which
 * starts its runs in the order given. `seceded`: goes on without a slot, since it waits for other
 * tasks. `gone`: ended or given up.
 */
export type WorkerRunState = 'waiting' | 'ready' | 'slotted' | 'seceded' | 'gone';

/** One assignment of a task to this worker, from its `run` message to its end. */
export interface WorkerRun {
  readonly run: number;
  readonly task: number;
  readonly fn: KnownFunction;
  readonly key: string;
  /** From 1. */
  readonly attempt: number;
  /** A view of the received frame. */
  readonly args: Uint8Array;
  /** In reference order; a task may be named several times. */
  readonly inputs: readonly number[];
  /** Slots it takes: it executes in one and blocks the others. */
  readonly threads: number;
  readonly resources: ResourceAmounts;
  /** The devices among them, by their places. */
  readonly devices: GrantedPlaces | null;
  /** The same by their names; null where none of the resources stands for devices. */
  readonly named: GrantedDevices | null;
  readonly timeoutMs: number | null;
  /** What the scheduler expects it to take; null while unknown. */
  readonly expectedUs: number | null;
  state: WorkerRunState;
  /** Different inputs that are not in the store yet. */
  missing: number;
  /** Index of the slot it is in; -1 outside. */
  slot: number;
  /** Where its code is; -1 unless it has seceded. */
  secededFrom: number;
  /** What it counts for in its slot's expected time. */
  chargedUs: number;
  /** The slot was asked to give it back, and has not answered. */
  isWithdrawing: boolean;
  /**
   * What the scheduler wants stopped: the run wherever it is, or only while it has not started;
   * null where it wants the run.
   */
  stop: 'running' | 'unstarted' | null;
}

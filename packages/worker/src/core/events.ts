/**
 * Everything the worker's core can be told. Read this file and `instructions.ts` to know the
 * core's interface.
 */
import type { Failure, WorkerBoundMessage, WorkerMetrics } from '@farm/protocol/core';

/** The scheduler said something (all but `get-data`, which the shell answers from its store). */
export interface SchedulerSaid {
  readonly kind: 'scheduler-said';
  readonly nowMs: number;
  readonly message: WorkerBoundMessage;
}

/** One run that ended well in a slot. */
export interface RunEnded {
  readonly run: number;
  /** Bytes of the encoded result, which the shell keeps in its store under the task's number. */
  readonly sizeBytes: number;
  /** The encoded result itself where it is at most `LIMITS.inlineValueBytesMax`, else null. */
  readonly value: Uint8Array | null;
  readonly durationUs: number;
}

/** Runs of one slot ended well. */
export interface RunsEnded {
  readonly kind: 'runs-ended';
  readonly nowMs: number;
  readonly ended: readonly RunEnded[];
}

/** A run failed; its slot goes on with the next run it was given. */
export interface RunErred {
  readonly kind: 'run-erred';
  readonly nowMs: number;
  readonly run: number;
  readonly failure: Failure;
  readonly durationUs: number;
  /** By a SIGTERM that the worker did not send: where it drains, it was meant for the worker. */
  readonly isTerminated?: boolean;
}

/** A run waits for other tasks: its slot goes on with others. Its end is told as any other. */
export interface RunSeceded {
  readonly kind: 'run-seceded';
  readonly nowMs: number;
  readonly run: number;
}

/**
 * A slot was emptied, by an interrupt, by a run's timeout or since its thread crashed: `failed` is
 * the run that was executing (null if none), `unstarted` the runs it had been given and never
 * began. The slot is free and clean again.
 */
export interface SlotEmptied {
  readonly kind: 'slot-emptied';
  readonly nowMs: number;
  readonly slot: number;
  readonly failed: { readonly run: number; readonly failure: Failure } | null;
  readonly unstarted: readonly number[];
}

/** Answer to `withdraw`: exact, whatever the slot was doing. */
export interface RunsWithdrawn {
  readonly kind: 'runs-withdrawn';
  readonly nowMs: number;
  readonly slot: number;
  readonly withdrawn: readonly number[];
  /** Had started (or ended): their own events tell how they end. */
  readonly started: readonly number[];
}

/** An input arrived in the store. */
export interface InputFetched {
  readonly kind: 'input-fetched';
  readonly nowMs: number;
  readonly task: number;
  readonly sizeBytes: number;
}

/** An input could not be fetched from any of its holders. */
export interface InputFailed {
  readonly kind: 'input-failed';
  readonly nowMs: number;
  readonly task: number;
  readonly holders: readonly string[];
  readonly reason: string;
}

/** How much memory the process takes. Told only where there is a limit. */
export interface MemorySampled {
  readonly kind: 'memory-sampled';
  readonly nowMs: number;
  /** Resident. */
  readonly rssBytes: number;
  /**
   * Of large values that were dropped or evicted and are in memory still, since somebody is being sent
   * them, or nobody has collected them.
   */
  readonly givenUpBytes: number;
}

/** A file has the value; its bytes are still in memory. */
export interface ValueSpilled {
  readonly kind: 'value-spilled';
  readonly nowMs: number;
  readonly task: number;
  /** As in the instruction. */
  readonly transfer: number;
}

/** The value could not be written: it stays in memory. */
export interface SpillFailed {
  readonly kind: 'spill-failed';
  readonly nowMs: number;
  readonly task: number;
  readonly transfer: number;
  readonly reason: string;
}

/** A spilled value is in memory again. */
export interface ValueLoaded {
  readonly kind: 'value-loaded';
  readonly nowMs: number;
  readonly task: number;
  readonly transfer: number;
}

/** The file of a spilled value is gone or damaged. */
export interface ValueLost {
  readonly kind: 'value-lost';
  readonly nowMs: number;
  readonly task: number;
  readonly reason: string;
}

/** Time to tell the scheduler how the worker is. */
export interface HeartbeatDue {
  readonly kind: 'heartbeat-due';
  readonly nowMs: number;
  readonly metrics: WorkerMetrics;
}

/** A signal or a lifetime asks the worker to end without loss. */
export interface DrainAsked {
  readonly kind: 'drain-asked';
  readonly nowMs: number;
  readonly reason: string;
  /** The nanny is to start another process then. */
  readonly restart: boolean;
}

/** A signal or the shell asks the worker to end at once. */
export interface CloseAsked {
  readonly kind: 'close-asked';
  readonly nowMs: number;
  readonly reason: string;
}

/** The time a `wake` asked for has come. */
export interface Woke {
  readonly kind: 'woke';
  readonly nowMs: number;
}

/** What happened. */
export type WorkerEvent =
  | SchedulerSaid
  | RunsEnded
  | RunErred
  | RunSeceded
  | SlotEmptied
  | RunsWithdrawn
  | InputFetched
  | InputFailed
  | MemorySampled
  | ValueSpilled
  | SpillFailed
  | ValueLoaded
  | ValueLost
  | HeartbeatDue
  | Woke
  | DrainAsked
  | CloseAsked;

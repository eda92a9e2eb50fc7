/** What the worker and the process of a slot say to each other; bytes travel as the frame's body. */
import type { ErrorCode, ResourceAmounts } from '@farm/protocol/core';

import type { RunDevices, SchedulerContact } from '../executor.ts';
import type { ResultLimit } from '../result-limit.ts';
import type { ThreadFunction } from '../threads/thread-messages.ts';

/** What a process is started with, as JSON in its one argument. */
export interface ProcessData {
  readonly workerName: string;
  readonly slot: number;
  readonly scheduler?: SchedulerContact | undefined;
  /** Undefined for no limit. */
  readonly resultLimit?: ResultLimit | undefined;
}

/** Everything the worker says. */
export type ProcessBoundMessage =
  | {
      readonly do: 'define';
      readonly fn: number;
      readonly name: string;
      readonly spec: ThreadFunction;
    }
  | { readonly do: 'forget'; readonly fns: readonly number[] }
  | {
      /** Execute this; said only when nothing has the slot. Body: arguments and inputs, packed. */
      readonly do: 'run';
      readonly run: number;
      readonly fn: number;
      readonly key: string;
      readonly attempt: number;
      readonly resources: ResourceAmounts;
      readonly devices?: RunDevices | undefined;
      /** Where each piece of the body ends. */
      readonly ends: readonly number[];
    }
  /** Changes the environment of the tasks that begin from now on. */
  | { readonly do: 'environment'; readonly changes: Readonly<Record<string, string | null>> }
  /** Nobody waits any more for the end of a run that has seceded and was to end. */
  | { readonly do: 'abandon'; readonly run: number }
  | {
      /** Ask the task to end, by its signal. */
      readonly do: 'abort';
      readonly run: number;
      readonly code: ErrorCode;
      readonly message: string;
    };

/** Everything the process says. */
export type WorkerBoundFrame =
  | {
      /** Body: what a record of the outcome carries. */
      readonly say: 'ended';
      readonly run: number;
      readonly kind: number;
      readonly durationUs: number;
      /** Of the whole process; null where the run has waited without the slot. */
      readonly cpuUs: number | null;
      /** Harm was done by a task that had ended: the process wants to be replaced. */
      readonly isHarmed: boolean;
    }
  /** The run was begun: its time counts from here. */
  | { readonly say: 'started'; readonly run: number }
  /** The task looked at its signal. */
  | { readonly say: 'listening'; readonly run: number }
  /** The run goes on without the slot. */
  | { readonly say: 'seceded'; readonly run: number }
  /** The task has got its signal. */
  | { readonly say: 'aborted'; readonly run: number }
  /** Harm was done between runs. */
  | { readonly say: 'harmed' }
  /** Body: a packed failure; the process ends with it. */
  | { readonly say: 'crashed' };

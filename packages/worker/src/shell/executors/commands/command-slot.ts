import { FarmError, type Failure } from '@farm/protocol/core';

import type { ExecutorRun } from '../executor.ts';
import type { RunningCommand } from './running-command.ts';
import type { SpawnedCommand } from './spawned-command.ts';

/** Commands of a slot that are out of the executor's hands: one that executes, others behind it. */
const GIVEN_MAX = 16;

/** A run that the executor has not begun. */
export interface WaitingCommand {
  readonly fn: number;
  readonly run: ExecutorRun;
}

/** A run that the executor has begun, or that its spawner begins without being told. */
export interface GivenCommand extends WaitingCommand {
  readonly sinceMs: number;
  /** Where a spawner has it, which begins it when those before it have ended. */
  readonly queued: SpawnedCommand | undefined;
  process: RunningCommand | undefined;
  /** Why it was interrupted, if it was. */
  stopped: Failure | undefined;
  /** Ends what copies its files, where there are any. */
  abort: AbortController | undefined;
  /** It is to be withdrawn, and the spawner has not answered. */
  isAsked: boolean;
}

/** What one slot of the executor has. */
export interface CommandSlot {
  /** What executes, as far as is known, and what begins behind it without being told. */
  readonly given: GivenCommand[];
  waiting: WaitingCommand[];
  /** When an end was last heard of. */
  heardMs: number;
}

/** Whether another run can be given: to an idle slot any, else one that a spawner takes ahead. */
export function takesAnother({ given }: CommandSlot): boolean {
  if (given.length >= GIVEN_MAX) return false;
  return given.every(({ queued, stopped }) => stopped === undefined && queued?.takesAnother);
}

/** Ends its processes, and what copies its files. */
export function stop(given: GivenCommand): void {
  given.process?.stop();
  given.abort?.abort(stoppedError());
}

/** What the copying of a command's files ends with where the command is stopped. */
export function stoppedError(): FarmError {
  return new FarmError('ERR_CANCELLED', 'stopped');
}

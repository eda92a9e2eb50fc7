import type { CommandResult } from '@farm/protocol';
import { hostname } from 'node:os';

import type { StagedAttempt, StagePlan } from './stage-plan.ts';
import { StagedDirectory, type StagingPlaces } from './staged-directory.ts';

/** What is staged, of which attempt, and where. */
export interface StagedRun {
  readonly plan: StagePlan;
  readonly attempt: StagedAttempt;
  readonly places: StagingPlaces;
  /** Stops the copying of files; a command that ends after that has failed. */
  readonly signal: AbortSignal;
}

/**
 * Runs a command in a directory of its own, with its files brought there before and taken out after.
 * Where it fails and its directory is kept, the error says where.
 *
 * @param run - runs it in this directory
 * @throws FarmError `ERR_STAGE` naming the command and the path
 */
export async function runStaged(
  { plan, attempt, places, signal }: StagedRun,
  run: (directory: string) => Promise<CommandResult>,
): Promise<CommandResult> {
  const directory = await StagedDirectory.make(plan, attempt, places, signal);
  let outputs: readonly string[];
  let result: CommandResult;
  try {
    result = await run(directory.path);
    signal.throwIfAborted();
    outputs = await directory.take();
  } catch (error) {
    const kept = await directory.end(false);
    if (kept !== undefined && error instanceof Error) {
      error.message += `; its directory is kept: ${hostname()}:${kept}`;
    }
    throw error;
  }
  const kept = await directory.end(true);
  return { ...result, outputs, ...(kept === undefined ? {} : { directory: kept }) };
}

import type { CommandFunction, CommandResult } from '@farm/protocol';
import { type ErrorCode, FarmError, type Failure, failure } from '@farm/protocol/core';
import { encodeError, encodeValue, errorText } from '@farm/protocol/value';

import { CommandError } from './command-error.ts';
import type { CommandLine } from './command-line.ts';

/** How a run ended: with an encoded result or not. */
export type Outcome =
  | { readonly value: Uint8Array }
  | { readonly failure: Failure; readonly isTerminated?: boolean };

/**
 * What a command results in, where its exit code is one that its task accepts.
 *
 * @throws CommandError where it is not
 */
export function accepted(
  { acceptExitCodes }: CommandFunction,
  line: CommandLine,
  result: CommandResult,
): CommandResult {
  if (result.exitCode !== null && acceptExitCodes.includes(result.exitCode)) return result;
  throw new CommandError(line, result);
}

/** @throws FarmError where the result cannot be encoded */
export function valueOutcome(result: CommandResult): Outcome {
  return { value: encodeValue(result, { what: 'the result' }).bytes };
}

/** Tells a failure, of whatever kind, as the client is to see it. */
export function failedOutcome(error: unknown, key: string, workerName: string): Outcome {
  const fail = (code: ErrorCode, message: string, encoded: Uint8Array | null): Failure =>
    failure(code, message, key, workerName, encoded);
  if (error instanceof CommandError) {
    const why = fail('ERR_COMMAND', errorText(error), encodeError(error));
    return { failure: why, isTerminated: error.signal === 'SIGTERM' };
  }
  if (error instanceof FarmError)
    return { failure: fail(error.code, `${key}: ${error.message}`, null) };
  return { failure: fail('ERR_INTERNAL', errorText(error), encodeError(error)) };
}

import { FarmError } from '../src/core/errors.ts';

/** The FarmError a call throws. */
export function refusal(act: () => unknown): FarmError {
  try {
    act();
  } catch (error) {
    if (error instanceof FarmError) return error;
    throw error;
  }
  throw new Error('the call was not refused');
}

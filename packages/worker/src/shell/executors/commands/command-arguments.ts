import { decodeValue } from '@farm/protocol/value';

import type { ExecutorRun } from '../executor.ts';

/** The values that a command's argument slots are filled with. */
export function commandArguments({ args, inputs }: ExecutorRun): readonly unknown[] {
  const values = inputs.map((input) => decodeValue(input));
  const decoded = decodeValue(args, values);
  return Array.isArray(decoded) ? decoded : [];
}

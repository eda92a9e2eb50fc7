import { failure, FarmError, type Failure, type FunctionSpec } from '@farm/protocol';
import { decodeValue } from '@farm/protocol/value';

/**
 * Reads a function as the client encoded it.
 *
 * @throws FarmError `ERR_FUNCTION` where the bytes are no function.
 */
export function readFunctionSpec(name: string, spec: Uint8Array): FunctionSpec {
  let value: unknown;
  try {
    value = decodeValue(spec);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new FarmError('ERR_FUNCTION', `function ${name} cannot be decoded: ${reason}`, {
      cause: error,
    });
  }
  const kinds: readonly unknown[] = ['source', 'module', 'command'];
  if (
    typeof value === 'object' &&
    value !== null &&
    'kind' in value &&
    kinds.includes(value.kind)
  ) {
    // SAFE: the executors check each field they use; a client encodes nothing else under a kind.
    return value as FunctionSpec;
  }
  throw new FarmError('ERR_FUNCTION', `function ${name} is of no known kind`);
}

/** The failure of a run for a reason of farm's own. */
export function failureOf(error: unknown, key: string, workerName: string): Failure {
  const code = error instanceof FarmError ? error.code : 'ERR_INTERNAL';
  const message = error instanceof Error ? error.message : String(error);
  return failure(code, message, key, workerName, null);
}

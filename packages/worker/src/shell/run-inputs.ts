import { FarmError } from '@farm/protocol';

import { isShared, type Store } from './data/store.ts';
import type { ExecutorRun } from './executors/executor.ts';

/** Which inputs a run gets, and how. */
export interface RunInputsOptions {
  /** For the message of an error. */
  readonly key: string;
  /** Tasks whose results they are. */
  readonly tasks: readonly number[];
  /** Those that are there for this run alone. @default none */
  readonly moved: readonly number[] | undefined;
  /** Whether the run may share memory with others. */
  readonly shares: boolean;
  /** Whether large inputs that are not its own can be mapped for it. */
  readonly maps: boolean;
}

/**
 * The inputs of a run as an executor gets them: its own to take, shared, or to be copied or mapped.
 *
 * @throws FarmError `ERR_INTERNAL` where one is not in memory.
 */
export function runInputs(
  store: Store,
  { key, tasks, moved = [], shares, maps }: RunInputsOptions,
): Pick<ExecutorRun, 'inputs' | 'movable' | 'shared'> {
  const movable = new Set<Uint8Array>();
  const shared = new Set<Uint8Array>();
  const inputs = tasks.map((task) => {
    const isOwn = moved.includes(task);
    const value = isOwn ? store.get(task) : takeFrom(store, task, shares, maps);
    if (value === undefined) {
      throw new FarmError('ERR_INTERNAL', `input ${task} of ${key} is not in the store`);
    }
    // Shared memory does not move, and a run that asked for none gets a copy of it. Nor does what a
    // peer reads at this moment or was sent, which heard of it before it was there for one run alone.
    if (!isShared(value)) {
      if (isOwn && store.mayMove(task)) movable.add(value);
    } else if (shares) shared.add(value);
    return value;
  });
  return {
    inputs,
    ...(movable.size === 0 ? {} : { movable }),
    ...(shared.size === 0 ? {} : { shared }),
  };
}

function takeFrom(
  store: Store,
  task: number,
  shares: boolean,
  maps: boolean,
): Uint8Array | undefined {
  if (shares) return store.share(task);
  return maps ? store.inFile(task) : store.get(task);
}

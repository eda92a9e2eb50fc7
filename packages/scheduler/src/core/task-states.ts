import type { TaskStateName } from '@farm/protocol/core';

/** How many states there are. */
const STATES = 8;

/** A number of its own for each state, below {@link STATES}. */
function numberOf(state: TaskStateName): number {
  switch (state) {
    case 'released':
      return 0;
    case 'waiting':
      return 1;
    case 'queued':
      return 2;
    case 'no-worker':
      return 3;
    case 'processing':
      return 4;
    case 'memory':
      return 5;
    case 'erred':
      return 6;
    case 'forgotten':
      return 7;
  }
}

/** What there is from some states to some others. Found by numbers: each step of a task asks. */
export class StateTable<T> {
  readonly #entries: (T | undefined)[] = Array.from({ length: STATES * STATES });

  constructor(
    entries: Readonly<Record<TaskStateName, Readonly<Partial<Record<TaskStateName, T>>>>>,
  ) {
    // SAFE: the keys are names of states.
    for (const from of Object.keys(entries) as TaskStateName[]) {
      for (const to of Object.keys(entries[from]) as TaskStateName[]) {
        this.#entries[numberOf(from) * STATES + numberOf(to)] = entries[from][to];
      }
    }
  }

  get(from: TaskStateName, to: TaskStateName): T | undefined {
    return this.#entries[numberOf(from) * STATES + numberOf(to)];
  }
}

import type { TaskStateName } from '@farm/protocol/core';

/** All states, in order of their numbers: see {@link StateTable}. */
export const TASK_STATES: readonly TaskStateName[] = [
  'released',
  'waiting',
  'queued',
  'no-worker',
  'processing',
  'memory',
  'erred',
  'forgotten',
];

/** The place of a state among all. Not searched for. */
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
  readonly #entries: readonly (T | undefined)[];

  constructor(
    entries: Readonly<Record<TaskStateName, Readonly<Partial<Record<TaskStateName, T>>>>>,
  ) {
    this.#entries = TASK_STATES.flatMap((from) => TASK_STATES.map((to) => entries[from][to]));
  }

  get(from: TaskStateName, to: TaskStateName): T | undefined {
    return this.#entries[numberOf(from) * TASK_STATES.length + numberOf(to)];
  }
}

import type { TaskStateName } from '@farm/protocol/core';

/** Number of tasks in each state. */
export type TaskCounts = Record<TaskStateName, number>;

/** No tasks in any state. */
export function noTasks(): TaskCounts {
  return {
    released: 0,
    waiting: 0,
    queued: 0,
    'no-worker': 0,
    processing: 0,
    memory: 0,
    erred: 0,
    forgotten: 0,
  };
}

/**
 * That many more tasks are in a state. A field that is named is found at once; one whose name comes
 * along is looked for, and each step of a task is counted four times.
 */
export function addTasks(counts: TaskCounts, state: TaskStateName, count: number): void {
  switch (state) {
    case 'released':
      counts.released += count;
      break;
    case 'waiting':
      counts.waiting += count;
      break;
    case 'queued':
      counts.queued += count;
      break;
    case 'no-worker':
      counts['no-worker'] += count;
      break;
    case 'processing':
      counts.processing += count;
      break;
    case 'memory':
      counts.memory += count;
      break;
    case 'erred':
      counts.erred += count;
      break;
    case 'forgotten':
      counts.forgotten += count;
      break;
    default:
      state satisfies never;
  }
}

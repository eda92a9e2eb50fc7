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

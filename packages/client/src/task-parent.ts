import { surroundingTask } from './inside-task.ts';

/** The command this process is part of, if a worker started it. */
const COMMAND_KEY = process.env['FARM_KEY'];

/**
 * Key of the task that this code is part of: of the run in this thread, or of the command that this
 * process was started as or by. Null outside of tasks. The scheduler places what a task submits
 * ahead of other work.
 */
export function currentTaskKey(): string | null {
  return (
    surroundingTask()?.key ?? (COMMAND_KEY === undefined || COMMAND_KEY === '' ? null : COMMAND_KEY)
  );
}

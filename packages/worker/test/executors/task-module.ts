/** A module of a user's: its tasks learn of themselves, wherever they run. */
import { taskContext } from '@farm/worker/task';

/** What the module sees while it is loaded for the first task that needs it. */
const keyAtLoad = keyOrCode();

export async function tell(word: string): Promise<readonly string[]> {
  await new Promise((resolve) => setTimeout(resolve, 1));
  const { attempt, worker } = taskContext();
  return [word, keyAtLoad, keyOrCode(), String(attempt), worker];
}

/** The key of the task this is called in; outside of one the code of the error. */
export function keyOrCode(): string {
  try {
    return taskContext().key;
  } catch (error) {
    return error instanceof Error && 'code' in error ? String(error.code) : 'another error';
  }
}

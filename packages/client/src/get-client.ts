import { FarmError } from '@farm/protocol';

import { Client } from './client.ts';
import { surroundingTask } from './inside-task.ts';

let shared: Client | undefined;

/**
 * The client of the cluster that the calling task runs on, to submit more tasks from inside one. It
 * is shared by the tasks of a thread, and stays connected: do not close it. A task that waits for
 * results gives its slot to other tasks meanwhile (`secede` of its context), so that tasks may wait
 * for tasks to any depth; a wait ends with the signal of the task's context.
 *
 * Functions that travel by their source find it under this name without an import, where
 * `@farm/client` is installed beside the worker.
 *
 * @throws FarmError `ERR_ARGUMENT` outside a task, or where the worker does not say how to connect.
 *
 * @example
 * const fib = async (n: number): Promise<number> => {
 *   if (n < 2) return n;
 *   const client = await getClient();
 *   const [a, b] = await client.gather([client.submit(fib, n - 1), client.submit(fib, n - 2)]);
 *   return a + b;
 * };
 */
export async function getClient(): Promise<Client> {
  const task = surroundingTask();
  if (task === undefined) {
    throw new FarmError(
      'ERR_ARGUMENT',
      'getClient() was called outside a task; a program makes its own with new Client(…)',
    );
  }
  if (shared === undefined) {
    const { scheduler, worker, slot } = task;
    if (scheduler === undefined) {
      throw new FarmError('ERR_ARGUMENT', `worker ${worker} does not say how to connect`);
    }
    const made = new Client({ ...scheduler, name: `${worker}/${slot}` });
    made.on('closed', () => {
      if (shared === made) shared = undefined;
    });
    shared = made;
  }
  return shared;
}

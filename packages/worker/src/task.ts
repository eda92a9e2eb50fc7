/**
 * What the code of a task imports to learn of itself. Light, so that modules of tasks may be imported
 * anywhere: it brings nothing of the worker along.
 *
 * @module
 *
 * @example
 * import { taskContext } from '@farm/worker/task';
 * export async function download(url: string): Promise<string> {
 *   const { signal } = taskContext();
 *   return (await fetch(url, { signal })).text();
 * }
 */
export { taskContext } from './shell/executors/threads/task-context.ts';
export type { TaskContext } from './shell/executors/threads/task-context.ts';

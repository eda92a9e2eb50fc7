/**
 * A worker of farm, to be embedded; `farm-worker` runs the same from a shell.
 *
 * @module
 */
export { Worker } from './shell/worker.ts';
export type { WorkerEnd } from './shell/worker-end.ts';
export { DEATH_TIMEOUT_MS } from './shell/worker-options.ts';
export type { WorkerOptions } from './shell/worker-options.ts';
export { taskContext } from './shell/executors/threads/task-context.ts';
export type { TaskContext } from './shell/executors/threads/task-context.ts';
export { readOutput } from './shell/executors/commands/output/read-output.ts';
export type { OutputRecord } from './shell/executors/commands/output/read-output.ts';
export { environmentChanged } from './shell/executors/commands/command-environment.ts';
export type {
  EnvironmentChanges,
  NannyPlugin,
  PluginWorker,
  RunState,
  WorkerPlugin,
  WorkerPluginExport,
} from './shell/plugins/worker-plugin.ts';

/**
 * The client of farm: futures over functions and shell commands on a cluster.
 *
 * @module
 * @example
 * import { Client, arg, asCompleted, command } from '@farm/client';
 *
 * await using client = new Client({ schedulerFile: 'scheduler.json' });
 * const squares = client.map((x: number) => x ** 2, [0, 1, 2, 3]);
 * const total = client.submit((xs: number[]) => xs.reduce((a, b) => a + b), squares);
 * for await (const future of asCompleted(squares)) console.log(await future.result());
 * console.log(await total.result());
 */
export { AsCompleted, asCompleted } from './as-completed.ts';
export type { AsCompletedOptions, Settled } from './as-completed.ts';
export { Client } from './client.ts';
export type { ClientEvents, WaitForWorkersOptions } from './client.ts';
export type { ClientOptions, ClientTarget, ClusterLike } from './client-options.ts';
export type { RebalanceOptions, ReplicateOptions, RetireOptions } from './cluster-data.ts';
export { Command, command, text } from './command.ts';
export type { CommandOptions, OutputTarget } from './command.ts';
export { CommandError } from './command-error.ts';
export type { StageInOptions, StageOptions, StageOutOptions } from './command-stage.ts';
export { arg } from './command-text.ts';
export type { WaitLimits } from './deadline.ts';
export { failureOf } from './failures.ts';
export type { TaskFailure } from './failures.ts';
export { ImportedFunction, fromModule } from './functions/module-function.ts';
export type { ModuleReference } from './functions/module-function.ts';
export { Future } from './future.ts';
export type { FutureStatus } from './future-table.ts';
export type { GatherOptions } from './gather.ts';
export { getClient } from './get-client.ts';
export type { RegisterPluginOptions } from './plugin-module.ts';
export type { ScatterOptions } from './scatter.ts';
export type { Submitter } from './submitter.ts';
export type { RetryOptions, SpeculateOptions, SubmitOptions } from './task-options.ts';
export type {
  AnyFunction,
  Argument,
  Arguments,
  FutureOr,
  Gathered,
  GatheredSkipping,
  Iterables,
} from './types.ts';
export {
  PluginDefinition,
  archivePlugin,
  copyOutPlugin,
  environmentPlugin,
  npmInstallPlugin,
  workerPlugin,
} from './worker-plugins.ts';
export type {
  ArchivePluginOptions,
  CopyOutPluginOptions,
  NpmInstallPluginOptions,
  Uploaded,
  WorkerPluginOptions,
} from './worker-plugins.ts';
export { wait } from './wait.ts';
export type { WaitOptions, Waited } from './wait.ts';
export { FarmError } from '@farm/protocol';
export type {
  AdaptiveRequirement,
  AdaptiveTarget,
  CommandResult,
  ErrorCode,
  Explanation,
  GroupInfo,
  HasWhat,
  PrefixInfo,
  Replicated,
  Retired,
  SchedulerInfo,
  SpanInfo,
  StoryEntry,
  WhoHas,
  WorkerInfo,
  WorkerStatus,
} from '@farm/protocol';

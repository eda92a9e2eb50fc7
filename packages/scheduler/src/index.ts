/**
 * The scheduler, for programs that host it themselves. Most use `farm-scheduler` or
 * `LocalCluster` instead.
 *
 * @module
 */
export { Scheduler } from './shell/scheduler.ts';
export type { SchedulerOptions } from './shell/scheduler.ts';
export { PluginHost } from './shell/plugins.ts';
export type { PluginExport, SchedulerPlugin, SchedulerView } from './shell/plugins.ts';
export type {
  ObservedClient,
  ObservedDeparture,
  ObservedSubmit,
  ObservedTransition,
  ObservedWorker,
} from './core/index.ts';

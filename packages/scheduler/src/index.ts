/**
 * The scheduler, for programs that host it themselves. Most use `farm-scheduler` or
 * `LocalCluster` instead.
 *
 * @module
 */
export { Scheduler } from './shell/scheduler.ts';
export type { SchedulerOptions } from './shell/scheduler.ts';

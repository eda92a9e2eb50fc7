/**
 * The scheduler as a state machine without IO. Read `events.ts` and `instructions.ts` for its
 * interface, `transitions.ts` and `placement.ts` for what it does.
 *
 * @module
 */
export type { SchedulerConfig } from './config.ts';
export type * from './events.ts';
export type * from './instructions.ts';
export type {
  Observation,
  ObservedClient,
  ObservedDeparture,
  ObservedSubmit,
  ObservedTransition,
  ObservedWorker,
  Observing,
} from './observations.ts';
export { SchedulerCore } from './scheduler-core.ts';
export type { SchedulerStatistics } from './scheduler-core.ts';
export type { TaskCounts } from './task-counts.ts';

/**
 * The worker as a pure state machine: events in, instructions out.
 *
 * @module
 */
export { WorkerCore } from './worker-core.ts';
export type { WorkerCoreOptions, WorkerCounts } from './worker-core.ts';
export type {
  CloseAsked,
  HeartbeatDue,
  InputFailed,
  InputFetched,
  RunEnded,
  RunErred,
  RunsEnded,
  RunsWithdrawn,
  SchedulerSaid,
  SlotEmptied,
  WorkerEvent,
  Woke,
} from './events.ts';
export type {
  Define,
  Drop,
  Execute,
  Exit,
  Fetch,
  Forget,
  Interrupt,
  Keep,
  Log,
  SlotRun,
  ToScheduler,
  Wake,
  Withdraw,
  WorkerInstruction,
} from './instructions.ts';

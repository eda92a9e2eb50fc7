/**
 * The worker as a pure state machine: events in, instructions out.
 *
 * @module
 */
export { WorkerCore } from './worker-core.ts';
export type { WorkerCounts } from './worker-core.ts';
export type { WorkerCoreOptions } from './worker-state.ts';
export type {
  CloseAsked,
  DrainAsked,
  HeartbeatDue,
  InputFailed,
  MemorySampled,
  SpillFailed,
  ValueLoaded,
  ValueLost,
  ValueSpilled,
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
export type { DeviceResource, GrantedDevices } from './devices.ts';
export { MEMORY_FRACTIONS, memoryPolicy } from './memory-policy.ts';
export type { MemoryFractions, MemoryPolicy } from './memory-policy.ts';
export type {
  Collect,
  Define,
  Drop,
  Evict,
  Execute,
  Exit,
  Fetch,
  Forget,
  Interrupt,
  Keep,
  Load,
  Log,
  SlotRun,
  Spill,
  ToScheduler,
  Wake,
  Withdraw,
  WorkerInstruction,
} from './instructions.ts';

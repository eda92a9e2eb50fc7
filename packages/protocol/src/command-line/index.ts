/**
 * What the command lines of farm's programs have in common. It imports neither codec nor sockets,
 * so that help and usage errors answer at once.
 *
 * @module
 */
export { affinityCount, systemMemoryBytes } from './machine.ts';
export { parseHeartbeatTimeout } from './heartbeat-timeout.ts';
export { parseMemoryFractions } from './memory-fractions.ts';
export { parseMemoryLimit } from './memory-limit.ts';
export { defineProgram } from './program.ts';
export { parseResources, parseWorkerResources } from './resources.ts';
export type { WorkerResources } from './resources.ts';
export { runProgram } from './run-program.ts';
export { HelpRequested, UsageError } from './usage-error.ts';
export { parseThreadCount, parseWorkerCount, workerSlots } from './worker-slots.ts';
export { parseInteger } from '../numbers.ts';
export {
  formatAddress,
  parseAddress,
  parsePort,
  parsePortRange,
  webSocketUrl,
} from '../address.ts';
export { createLogger, silentLogger } from '../logger.ts';
export { interfaceAddress, isLoopback, localAddresses } from '../network-interface.ts';
export { formatDuration } from '../core/format-duration.ts';
export { formatBytes, parseBytes, parseDuration } from '../units.ts';

export type { Address, ParseAddressOptions } from '../address.ts';
export type { LogLevel, LogMethod, LogStream, Logger, LoggerOptions } from '../logger.ts';
export type { InterfaceAddressOptions, NetworkInterfaces } from '../network-interface.ts';
export type { IntegerBounds } from '../numbers.ts';
export type { MachineSource } from './machine.ts';
export type { ParsedMemoryFractions } from './memory-fractions.ts';
export type { MemoryCapacity, MemoryLimit } from './memory-limit.ts';
export type {
  Environment,
  OptionSource,
  OptionSpecs,
  OptionValues,
  ParsedCommandLine,
  PositionalSpec,
  ProgramDefinition,
  SwitchOption,
  ValueOption,
} from './definition.ts';
export type { Program } from './program.ts';
export type { ProgramHost } from './run-program.ts';
export type { WorkerSlotsOptions } from './worker-slots.ts';

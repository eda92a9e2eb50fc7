/**
 * The wire of farm: messages, values, connections, addresses, the scheduler file.
 *
 * @module
 */
export * from './core/index.ts';
export type { BulkFrame, Connection, ConnectionHandlers } from './connection.ts';
export type {
  ArgumentSlot,
  CommandFunction,
  CommandOutput,
  CommandResult,
  CommandStage,
  CommandText,
  StageIn,
  StageOut,
  FunctionExecutor,
  FunctionSpec,
  ModuleFunction,
  SourceFunction,
} from './function-spec.ts';
export type { BuiltinPlugin, PluginSpec } from './plugin-spec.ts';
export { formatAddress, parseAddress, webSocketUrl } from './address.ts';
export type { Address } from './address.ts';
export { createLogger, silentLogger } from './logger.ts';
export type { LogLevel, Logger } from './logger.ts';
export { makeDirectories, makeDirectoriesAsync } from './make-directories.ts';
export { interfaceAddress, isLoopback, localAddresses } from './network-interface.ts';
export { EXIT_WITH_STDIN, SHARED_DIRECTORY, watchParent } from './parent-watch.ts';
export { onShutdownSignal } from './shutdown-signals.ts';
export { formatBytes, parseBytes, parseDuration } from './units.ts';
export { decodeBatch, encodeBatch } from './codec/batch.ts';
export { decodeBulk, encodeBulkHeader } from './codec/bulk.ts';
export {
  LOAN_SEAL_BYTES,
  LOAN_TERMS_BYTES,
  decodeLoanRequest,
  decodeLoanTerms,
  encodeLoanRequest,
  encodeLoanReturn,
  encodeLoanTerms,
  isLoanRequest,
  isLoanReturn,
} from './codec/data-loan.ts';
export type { LoanedFile, LoanRequest, LoanTerms } from './codec/data-loan.ts';
export {
  STREAM_ANSWER_BYTES,
  STREAM_PIECE_BYTES,
  STREAM_REQUEST_BYTES,
  decodeStreamAnswer,
  decodeStreamRequest,
  encodeStreamAnswer,
  encodeStreamRequest,
} from './codec/data-stream.ts';
export type { StreamAnswer, StreamRequest } from './codec/data-stream.ts';
export { checkMessage } from './codec/check-message.ts';
export type { MessagesBySpeaker, Speaker } from './codec/check-message.ts';
export type { AcceptedConnections, DialedConnections } from './transport/dialogue.ts';
export type { HelloByRole } from './transport/handshake.ts';
export { dialDataStream } from './transport/data-stream.ts';
export type { DataStreamOptions, OpenDataStream } from './transport/data-stream.ts';
export { inprocPair } from './transport/inproc.ts';
export type { InprocOptions, InprocPair } from './transport/inproc.ts';
export { LIVENESS_TIMES, livenessTimes } from './transport/liveness.ts';
export type { LivenessTimes } from './transport/liveness.ts';
export { reconnect } from './transport/reconnect.ts';
export type { ReconnectOptions } from './transport/reconnect.ts';
export { dial } from './transport/ws-client.ts';
export type { DialOptions, Dialed } from './transport/ws-client.ts';
export { FarmServer } from './transport/ws-server.ts';
export type {
  ConnectionArguments,
  FarmServerOptions,
  HelloArguments,
  HelloVerdict,
  Remote,
} from './transport/ws-server.ts';
export {
  findCredential,
  hasEnded,
  removeCredential,
  writeCredential,
} from './scheduler-file/credentials.ts';
export type { Credential } from './scheduler-file/credentials.ts';
export {
  describeSchedulerFile,
  isStale,
  readSchedulerFile,
  removeSchedulerFile,
  writeSchedulerFile,
} from './scheduler-file/scheduler-file.ts';
export type {
  ReadSchedulerFileOptions,
  SchedulerFile,
  SchedulerFileInfo,
  TokenRole,
} from './scheduler-file/scheduler-file.ts';
export { makeToken } from './scheduler-file/token.ts';
export { waitForSchedulerFile } from './scheduler-file/wait.ts';
export type { WaitForSchedulerFileOptions } from './scheduler-file/wait.ts';
export {
  FUTURE,
  ValueColumn,
  decodeError,
  decodeValue,
  encodeError,
  encodeValue,
  errorText,
} from './value/index.ts';
export type { DecodeOptions, EncodeOptions, EncodedColumn, EncodedValue } from './value/index.ts';

/**
 * Every control message of the wire.
 *
 * Messages are plain objects with a literal `op`. Key order is part of a message's shape on the
 * wire (see the codec), so messages are built by the factory functions below and nowhere else.
 *
 * Hot messages carry columns: parallel arrays with one entry per task, and byte columns, which are
 * one `Uint8Array` with an `ends` column (entry i spans `ends[i - 1] ?? 0` to `ends[i]`). Columns
 * named `…Column` are packed little-endian u32 (see `u32-column.ts`); user values stay encoded
 * bytes that nobody but client and task ever decodes.
 *
 * Numbers that identify: `id` is a client's own number of a future (unique per client session,
 * below 2^32); `task` is the scheduler's number of a task; `run` is one assignment of a task to a
 * worker, never reused; `fn` is the scheduler's number of a function; `request` is the asker's own
 * number of a question.
 */
export { PROTOCOL_VERSION } from './messages/handshake.ts';
export type {
  ClientHello,
  Hello,
  PeerHello,
  PreviousDeath,
  Refusal,
  Role,
  Welcome,
  WorkerHello,
} from './messages/handshake.ts';
export { sharedItem, topicEvent } from './messages/coordination.ts';
export type {
  CoordinationQuestions,
  MetadataEntry,
  ReceivedItem,
  ReceivedItems,
  ReservedIds,
  SharedItem,
  TopicEvent,
  TopicRecord,
} from './messages/coordination.ts';
export { DEFAULT_TASK_OPTIONS, failure, taskOptions } from './messages/records.ts';
export type { Failure, ResourceAmounts, Speculation, TaskOptions } from './messages/records.ts';
export {
  ask,
  cancel,
  clientHeartbeat,
  closeClient,
  defineFunction,
  getResult,
  release,
  retry,
  scatter,
  shutdown,
  submit,
} from './messages/from-client.ts';
export type {
  Ask,
  Cancel,
  ClientHeartbeat,
  ClientMessage,
  CloseClient,
  DefineFunction,
  GetResult,
  PluginParams,
  Questions,
  Release,
  Retry,
  Scatter,
  Shutdown,
  Submit,
} from './messages/from-client.ts';
export {
  accepted,
  cancelled,
  dataFailed,
  failed,
  goodbye,
  recomputing,
  reply,
  results,
} from './messages/to-client.ts';
export type {
  Accepted,
  Cancelled,
  ClientBoundMessage,
  DataFailed,
  Failed,
  Goodbye,
  Recomputing,
  Reply,
  Results,
} from './messages/to-client.ts';
export {
  acquire,
  closeWorker,
  restartWorker,
  defineWorkerFunction,
  forgetFunctions,
  free,
  getData,
  putData,
  run,
  runDependency,
  stop,
} from './messages/to-worker.ts';
export type {
  Acquire,
  CloseWorker,
  RestartWorker,
  DefineWorkerFunction,
  ForgetFunctions,
  Free,
  GetData,
  PutData,
  Run,
  GrantedPlaces,
  RunDependency,
  Stop,
  WorkerBoundMessage,
} from './messages/to-worker.ts';
export {
  acquireFailed,
  finished,
  getRelayed,
  holding,
  inputMissing,
  draining,
  leaving,
  lost,
  runUsage,
  runFailed,
  seceded,
  stopped,
  workerHeartbeat,
  workerMetrics,
} from './messages/from-worker.ts';
export type {
  AcquireFailed,
  Finished,
  GetRelayed,
  Holding,
  InputMissing,
  Draining,
  Leaving,
  Lost,
  RunUsage,
  RunFailed,
  Seceded,
  Stopped,
  WorkerHeartbeat,
  WorkerMessage,
  WorkerMetrics,
} from './messages/from-worker.ts';
export type {
  AdaptiveRequirement,
  AdaptiveTarget,
  HasWhat,
  RebalanceParams,
  ReplicateParams,
  Replicated,
  RetireParams,
  Retired,
  WhoHas,
} from './messages/data-questions.ts';
export { pluginSet, setPlugin } from './messages/plugins.ts';
export type { PluginKind, PluginSet, SetPlugin, WorkerPluginParams } from './messages/plugins.ts';
export type { PeerMessage } from './messages/peer.ts';
export type { Message } from './messages/message.ts';
export type {
  Explanation,
  GroupInfo,
  PrefixInfo,
  SchedulerInfo,
  SpanInfo,
  StoryEntry,
  TaskStateName,
  WorkerInfo,
  WorkerStatus,
} from './messages/answers.ts';

/** What the main thread and a slot's thread say to each other. */
import type { ErrorCode, ResourceAmounts } from '@farm/protocol/core';
import type { MessagePort } from 'node:worker_threads';

import type { ModuleFunction, SourceFunction } from '@farm/protocol';
import type { RunDevices, SchedulerContact } from '../executor.ts';
import type { ResultLimit } from '../result-limit.ts';
import { RECORD_KINDS } from './run-lane.ts';

/** A function that runs in a thread. */
export type ThreadFunction = SourceFunction | ModuleFunction;

/** What a thread is started with. */
export interface ThreadData {
  readonly port: MessagePort;
  readonly lane: SharedArrayBuffer;
  /** For messages. */
  readonly workerName: string;
  readonly slot: number;
  readonly scheduler: SchedulerContact | undefined;
  /** CPUs it binds itself to. */
  readonly cpus: string | undefined;
  /** Undefined for no limit. */
  readonly resultLimit?: ResultLimit | undefined;
  /** Whether large results are to lie in files in memory, which other processes can map. */
  readonly memoryFiles: boolean;
}

/** Makes a function known to the thread, before the first batch that names it. */
export interface DefineMessage {
  readonly do: 'define';
  readonly fn: number;
  readonly name: string;
  readonly spec: ThreadFunction;
}

/** No batch will name these functions any more. */
export interface ForgetMessage {
  readonly do: 'forget';
  readonly fns: readonly number[];
}

/** Changes the environment of the tasks that begin from now on. */
export interface EnvironmentMessage {
  readonly do: 'environment';
  readonly changes: Readonly<Record<string, string | null>>;
}

/** Nobody waits any more for the end of a run that has seceded and was to end. */
export interface AbandonMessage {
  readonly do: 'abandon';
  readonly sequence: number;
}

/** Memory that was shared with tasks was given up elsewhere: what is left of it here is to go. */
export interface CollectMessage {
  readonly do: 'collect';
}

/** Asks the task that executes under this number to end, by its signal. */
export interface AbortMessage {
  readonly do: 'abort';
  readonly sequence: number;
  readonly code: ErrorCode;
  readonly message: string;
}

/** Arguments and inputs of runs of one function. */
export interface PackedRuns {
  readonly fn: number;
  /**
   * Of each run its arguments and then its inputs, each from a multiple of 8. Emptied when all runs
   * have begun: whoever delivered the message may hold it for longer.
   */
  bytes: Uint8Array;
  /** Where each piece of `bytes` ends. Not 32 bit: inputs may be large. */
  readonly ends: Float64Array;
  /**
   * Pieces that are moved by themselves, or shared, by position; they are empty in `bytes`.
   * @default none
   */
  readonly apart?: Map<number, Uint8Array> | null;
  /** Those of them that are mapped: they take memory only where they are written to. @default none */
  readonly mapped?: ReadonlySet<number> | null;
  /** Whether some of them are shared. @default false */
  readonly sharesInputs?: boolean;
}

/** Runs of one function, with consecutive sequence numbers. */
export interface RunsMessage extends PackedRuns {
  readonly do: 'runs';
  /** Sequence number of the first. */
  readonly first: number;
  readonly keys: readonly string[];
  /** Null where all are first attempts. */
  readonly attempts: readonly number[] | null;
  /** One entry a run; null where no run is granted anything. */
  readonly resources: readonly ResourceAmounts[] | null;
  /** One entry a run; null where no run is granted devices. */
  readonly devices: readonly (RunDevices | undefined)[] | null;
  /** Inputs of each run; null where no run has any. */
  readonly inputCounts: readonly number[] | null;
  /** Whether the main thread wants to know at once when one of the runs starts. */
  readonly announce: boolean;
}

/** Where the piece after one that ends here begins: aligned, so that buffers decode as views. */
export function pieceStart(previousEnd: number): number {
  return Math.ceil(previousEnd / 8) * 8;
}

/** A piece of a batch, not copied. */
export function batchPiece(batch: PackedRuns, piece: number): Uint8Array {
  const apart = batch.apart?.get(piece);
  if (apart !== undefined) return apart;
  return batch.bytes.subarray(pieceStart(batch.ends[piece - 1] ?? 0), batch.ends[piece]);
}

/** Everything the main thread says. */
export type ThreadBoundMessage =
  | DefineMessage
  | ForgetMessage
  | EnvironmentMessage
  | AbandonMessage
  | CollectMessage
  | AbortMessage
  | RunsMessage;

/** There are records in the lane, or a run that is to be announced started. */
export type LookMessage = null;

/** A record that did not fit the lane. */
export interface RecordMessage {
  readonly sequence: number;
  readonly kind: number;
  readonly durationUs: number;
  readonly bytes: Uint8Array;
  readonly cpuUs: number | undefined;
  /** Descriptor of a file in memory with the same bytes, which is the receiver's to close. */
  readonly file: number | undefined;
}

/** Something a run wrote. */
export interface OutputMessage {
  readonly stream: 'stdout' | 'stderr';
  readonly text: string;
}

/** The thread is about to end by an exception that nothing caught. */
export interface CrashMessage {
  readonly crash: PackedFailure;
}

/** The task under this number has got its signal, whatever it makes of it. */
export interface AbortedMessage {
  readonly aborted: number;
}

/** The run goes on without the slot; its end comes in a {@link RecordMessage}. */
export interface SecededMessage {
  readonly seceded: number;
}

/** Something harmful was left behind in the thread: it takes no more runs and wants to be ended. */
export interface RetireMessage {
  readonly retire: true;
}

/** Everything a thread says. */
export type MainBoundMessage =
  | LookMessage
  | RecordMessage
  | OutputMessage
  | AbortedMessage
  | SecededMessage
  | RetireMessage
  | CrashMessage;

/** What a record of a failure carries. */
export interface PackedFailure {
  readonly message: string;
  /** What user code threw (`encodeError`); null where farm is the cause. */
  readonly error: Uint8Array | null;
  /** Name of the error that user code threw; null where it threw none. */
  readonly name: string | null;
}

/** The error code a record of this kind stands for. */
export function failureCode(kind: number): ErrorCode {
  if (kind === RECORD_KINDS.taskFailed) return 'ERR_TASK';
  if (kind === RECORD_KINDS.resultFailed) return 'ERR_RESULT';
  if (kind === RECORD_KINDS.functionFailed) return 'ERR_FUNCTION';
  if (kind === RECORD_KINDS.argumentsFailed) return 'ERR_VALUE';
  return 'ERR_INTERNAL';
}

const TEXT_ENCODER = new TextEncoder();
const TEXT_DECODER = new TextDecoder();

/** Packs a failure into the bytes of a record. */
export function packFailure({ message, error, name }: PackedFailure): Uint8Array {
  const text = TEXT_ENCODER.encode(message);
  const nameText = TEXT_ENCODER.encode(name ?? '');
  const errorAt = 8 + text.byteLength + nameText.byteLength;
  const bytes = new Uint8Array(errorAt + (error?.byteLength ?? 0));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, text.byteLength, true);
  view.setUint32(4, nameText.byteLength, true);
  bytes.set(text, 8);
  bytes.set(nameText, 8 + text.byteLength);
  if (error !== null) bytes.set(error, errorAt);
  return bytes;
}

/** Reverses {@link packFailure}. */
export function unpackFailure(bytes: Uint8Array): PackedFailure {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const textEnd = 8 + view.getUint32(0, true);
  const nameEnd = textEnd + view.getUint32(4, true);
  return {
    message: TEXT_DECODER.decode(bytes.subarray(8, textEnd)),
    name: nameEnd === textEnd ? null : TEXT_DECODER.decode(bytes.subarray(textEnd, nameEnd)),
    error: nameEnd === bytes.byteLength ? null : bytes.slice(nameEnd),
  };
}

import { errorText } from '@farm/protocol/value';
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  Worker,
} from 'node:worker_threads';
import type { ResourceLimits } from 'node:worker_threads';

import { closeFilesOfThread } from '../../memory-files/thread-files.ts';
import { keepFile } from '../../memory-files/value-files.ts';
import { createLane, LaneReader } from './run-lane.ts';
import type {
  CrashMessage,
  MainBoundMessage,
  PackedFailure,
  ThreadBoundMessage,
  ThreadData,
} from './thread-messages.ts';

/** A thread that does not end within this time of being terminated is left to itself. */
const TERMINATE_MS = 2_000;

const ENTRY = new URL(
  import.meta.url.endsWith('.ts') ? './thread-main.ts' : './thread-main.js',
  import.meta.url,
);

/** How a thread ended. */
export interface ThreadEnd {
  /** Null where it could not be ended, being inside a call of native code; it still exists. */
  readonly exitCode: number | null;
  /** What it ended by, where it did not end by itself. */
  readonly crash: PackedFailure | undefined;
}

/** What a {@link SlotThread} is started with. */
export interface SlotThreadOptions extends Pick<
  ThreadData,
  'workerName' | 'slot' | 'scheduler' | 'cpus' | 'resultLimit' | 'memoryFiles'
> {
  readonly resourceLimits: ResourceLimits | undefined;
}

/** What a thread tells its owner. */
export interface SlotThreadHandlers {
  said(message: Exclude<MainBoundMessage, CrashMessage>): void;
  /** Once; everything the thread said came before. */
  ended(end: ThreadEnd): void;
}

/** One worker thread with its lane. It never keeps the process alive. */
export class SlotThread {
  readonly lane: LaneReader;
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #handlers: SlotThreadHandlers;
  readonly #threadId: number;
  readonly #mayHaveFiles: boolean;
  #crash: PackedFailure | undefined;
  #hasEnded = false;
  #terminating: NodeJS.Timeout | undefined;

  /** @throws what `new Worker` throws where no thread can be made */
  constructor({ resourceLimits, ...given }: SlotThreadOptions, handlers: SlotThreadHandlers) {
    const memory = createLane();
    const { port1, port2 } = new MessageChannel();
    const workerData: ThreadData = {
      port: port2,
      lane: memory,
      workerName: given.workerName,
      slot: given.slot,
      scheduler: given.scheduler,
      cpus: given.cpus,
      resultLimit: given.resultLimit,
      memoryFiles: given.memoryFiles,
    };
    this.lane = new LaneReader(memory);
    this.#handlers = handlers;
    this.#port = port1;
    this.#worker = new Worker(ENTRY, {
      workerData,
      transferList: [port2],
      stdout: true,
      stderr: true,
      name: 'farm slot',
      ...(resourceLimits === undefined ? {} : { resourceLimits }),
    });
    this.#threadId = this.#worker.threadId;
    this.#mayHaveFiles = given.memoryFiles;
    port1.on('message', (message: MainBoundMessage) => this.#said(message));
    // What Node itself writes before the thread's own redirection is in place.
    this.#worker.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#said({ stream: 'stdout', text });
    });
    this.#worker.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#said({ stream: 'stderr', text });
    });
    this.#worker.once('error', (error) => {
      this.#crash ??= { message: errorText(error), error: null, name: null };
    });
    this.#worker.once('exit', (exitCode) => this.#end(exitCode));
    this.#worker.unref();
    port1.unref();
  }

  post(message: ThreadBoundMessage, moved: ArrayBuffer[] = []): void {
    this.#port.postMessage(message, moved);
  }

  /** Its heap and what lies outside of it: the contents of buffers. Answered also while it is busy. */
  async memoryBytes(): Promise<number> {
    const { used_heap_size: heap, external_memory: external } =
      await this.#worker.getHeapStatistics();
    return heap + external;
  }

  /** Ends the thread, whatever it is doing; `ended` follows. */
  terminate(): void {
    if (this.#hasEnded || this.#terminating !== undefined) return;
    this.#terminating = setTimeout(() => this.#end(null), TERMINATE_MS);
    void this.#worker.terminate();
  }

  #said(message: MainBoundMessage): void {
    if (message !== null && 'file' in message && message.file !== undefined) {
      keepFile(message.bytes.buffer, message.file);
    }
    if (message !== null && 'crash' in message) this.#crash = message.crash;
    else if (!this.#hasEnded) this.#handlers.said(message);
  }

  #end(exitCode: number | null): void {
    if (this.#hasEnded) return;
    clearTimeout(this.#terminating);
    for (;;) {
      const received = receiveMessageOnPort(this.#port);
      if (received === undefined) break;
      // SAFE: the other end of the port speaks only this.
      this.#said(received.message as MainBoundMessage);
    }
    this.#hasEnded = true;
    this.#port.close();
    if (this.#mayHaveFiles && exitCode !== null) closeFilesOfThread(this.#threadId);
    this.#handlers.ended({ exitCode, crash: this.#crash });
  }
}

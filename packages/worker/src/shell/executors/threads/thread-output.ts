import { StringDecoder } from 'node:string_decoder';
import type { MessagePort } from 'node:worker_threads';

import type { LaneWriter } from './run-lane.ts';
import type { OutputMessage } from './thread-messages.ts';

/**
 * Sends what the thread writes to stdout and stderr to the main thread at once. Node's own piping
 * waits for the thread's event loop, and what a blocked or terminated task wrote would be lost.
 */
export function redirectOutput(port: MessagePort, lane: LaneWriter): void {
  redirect(process.stdout, 'stdout', port, lane);
  redirect(process.stderr, 'stderr', port, lane);
}

type Written = (error?: Error | null) => void;

function redirect(
  target: NodeJS.WriteStream,
  stream: OutputMessage['stream'],
  port: MessagePort,
  lane: LaneWriter,
): void {
  const decoder = new StringDecoder('utf8');
  const write = (chunk: unknown, _encoding: string, written: Written): void => {
    const text = typeof chunk === 'string' ? chunk : decoder.write(asBuffer(chunk));
    if (text !== '') {
      lane.sendingOutput(text.length);
      const message: OutputMessage = { stream, text };
      port.postMessage(message);
    }
    written();
  };
  Object.assign(target, { _write: write, _writev: null });
}

function asBuffer(chunk: unknown): Buffer {
  return chunk instanceof Uint8Array
    ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength)
    : Buffer.from(String(chunk));
}

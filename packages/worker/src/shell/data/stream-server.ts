import { once } from 'node:events';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { crc32 } from 'node:zlib';

import {
  decodeStreamRequest,
  encodeStreamAnswer,
  LIMITS,
  STREAM_PIECE_BYTES,
  STREAM_REQUEST_BYTES,
  type StreamRequest,
} from '@farm/protocol';

import type { Store } from './store.ts';

/** A peer that takes nothing, or asks for nothing, for this long loses its connection. */
const IDLE_MS = 60_000;

/** Options of {@link StreamServer}. */
export interface StreamServerOptions {
  readonly workerName: string;
  /** The values to serve, asked for at each request. */
  readonly store: () => Store;
}

/**
 * Serves large values on bare connections, one request after the other on each: as fast as the peer
 * takes them. What is in memory is sent from where it lies, however many peers take it at once; of
 * a spilled value one piece at a time is in memory for each of them.
 */
export class StreamServer {
  readonly #options: StreamServerOptions;
  #open = 0;

  constructor(options: StreamServerOptions) {
    this.#options = options;
  }

  /** Takes a connection. Past the limit it is closed: the peer tries again, or elsewhere. */
  accept(socket: Duplex): void {
    if (this.#open >= LIMITS.dataStreamsMax) {
      socket.destroy();
      return;
    }
    this.#open += 1;
    socket.once('close', () => {
      this.#open -= 1;
    });
    let buffered = Buffer.alloc(0);
    let isServing = false;
    if (socket instanceof Socket) socket.setTimeout(IDLE_MS, () => socket.destroy());
    socket.on('data', (bytes: Buffer) => {
      buffered = Buffer.concat([buffered, bytes]);
      // A request at a time: more than that is no peer of ours.
      if (isServing || buffered.byteLength > STREAM_REQUEST_BYTES) socket.destroy();
      if (buffered.byteLength !== STREAM_REQUEST_BYTES) return;
      isServing = true;
      const asked = buffered;
      buffered = Buffer.alloc(0);
      this.#serve(asked, socket).then(
        () => {
          isServing = false;
        },
        // In the middle of an answer there is no other way to say so.
        () => socket.destroy(),
      );
    });
  }

  async #serve(asked: Uint8Array, socket: Duplex): Promise<void> {
    const request = decodeStreamRequest(asked);
    const store = this.#options.store();
    const problem = this.#problemOf(request, store);
    if (problem !== undefined) {
      const message = Buffer.from(problem);
      const head = encodeStreamAnswer({ isOk: false, byteLength: message.byteLength });
      socket.write(Buffer.concat([head, message]));
      return;
    }
    const { task, offset, totalBytes, checks } = request;
    socket.write(encodeStreamAnswer({ isOk: true, byteLength: totalBytes - offset }));
    const value = store.get(task);
    if (value !== undefined && !checks) {
      await written(socket, value.subarray(offset));
      return;
    }
    for (let at = offset; at < totalBytes; at += STREAM_PIECE_BYTES) {
      const length = Math.min(STREAM_PIECE_BYTES, totalBytes - at);
      const piece = value?.subarray(at, at + length) ?? (await store.read(task, at, length));
      const check = Buffer.alloc(checks ? 4 : 0);
      if (checks) check.writeUInt32LE(crc32(piece));
      socket.write(piece);
      await written(socket, check);
    }
  }

  #problemOf({ task, totalBytes }: StreamRequest, store: Store): string | undefined {
    const { workerName } = this.#options;
    const sizeBytes = store.sizeOf(task);
    if (sizeBytes === undefined) {
      return `task ${task}: worker ${workerName} does not hold its result`;
    }
    if (sizeBytes === totalBytes) return undefined;
    return `worker ${workerName} has a value of ${sizeBytes} bytes, expected one of ${totalBytes}`;
  }
}

/** Writes, and waits until there is room for more. */
async function written(socket: Duplex, bytes: Uint8Array): Promise<void> {
  if (socket.write(bytes)) return;
  const closed = new AbortController();
  const onClose = (): void => closed.abort();
  socket.once('close', onClose);
  try {
    if (socket.destroyed) closed.abort();
    await once(socket, 'drain', { signal: closed.signal });
  } finally {
    socket.off('close', onClose);
  }
}

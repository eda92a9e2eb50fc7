import { once } from 'node:events';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { crc32 } from 'node:zlib';

import {
  decodeLoanRequest,
  decodeStreamRequest,
  encodeLoanTerms,
  encodeStreamAnswer,
  isLoanRequest,
  isLoanReturn,
  LIMITS,
  LOAN_TERMS_BYTES,
  STREAM_PIECE_BYTES,
  STREAM_REQUEST_BYTES,
  type StreamRequest,
} from '@farm/protocol';

import type { OpenHostMemory } from './host-memory/host-memory.ts';
import { LoanDesk, type Loan } from './host-memory/loan-desk.ts';
import type { Store } from './store.ts';

/** A peer that takes nothing, or asks for nothing, for this long loses its connection. */
const IDLE_MS = 60_000;

/** Options of {@link StreamServer}. */
export interface StreamServerOptions {
  readonly workerName: string;
  /** The values to serve, asked for at each request. */
  readonly store: () => Store;
  /** How peers on this host read values where they lie. @default they do not */
  readonly openHostMemory?: OpenHostMemory | undefined;
}

/**
 * Serves large values on bare connections, one request after the other on each: as fast as the peer
 * takes them. What is in memory is sent from where it lies, however many peers take it at once; of
 * a spilled value one piece at a time is in memory for each of them. A peer on this host may borrow a
 * value instead: until its next request, or the end of its connection.
 */
export class StreamServer {
  readonly #options: StreamServerOptions;
  readonly #desk: LoanDesk;
  #open = 0;

  constructor(options: StreamServerOptions) {
    this.#options = options;
    this.#desk = new LoanDesk(options.openHostMemory ?? (() => undefined));
  }

  /** Values that are lent. */
  get loans(): number {
    return this.#desk.size;
  }

  /**
   * Takes a connection. Past the limit it is closed: the peer tries again, or elsewhere.
   *
   * @param isLocal - Whether the peer is a process of this user on this host.
   */
  accept(socket: Duplex, isLocal: boolean): void {
    if (this.#open >= LIMITS.dataStreamsMax) {
      socket.destroy();
      return;
    }
    this.#open += 1;
    let loan: Loan | undefined;
    socket.once('close', () => {
      this.#open -= 1;
      loan?.end();
    });
    let buffered = Buffer.alloc(0);
    let isServing = false;
    if (socket instanceof Socket) socket.setTimeout(IDLE_MS, () => socket.destroy());
    const take = (asked: Uint8Array): void => {
      loan?.end();
      loan = undefined;
      if (isLoanReturn(asked)) return;
      if (isLoanRequest(asked)) {
        loan = isLocal ? this.#lend(asked, socket) : this.#refuseLoan(socket);
        return;
      }
      isServing = true;
      this.#serve(asked, socket).then(
        () => {
          isServing = false;
        },
        // In the middle of an answer there is no other way to say so.
        () => socket.destroy(),
      );
    };
    socket.on('data', (bytes: Buffer) => {
      buffered = Buffer.concat([buffered, bytes]);
      try {
        while (buffered.byteLength >= STREAM_REQUEST_BYTES) {
          if (isServing) break;
          const asked = buffered.subarray(0, STREAM_REQUEST_BYTES);
          buffered = buffered.subarray(STREAM_REQUEST_BYTES);
          take(asked);
        }
      } catch {
        socket.destroy();
      }
      // A request at a time: more than that is no peer of ours.
      if (isServing && buffered.byteLength > 0) socket.destroy();
    });
  }

  #lend(asked: Uint8Array, socket: Duplex): Loan | undefined {
    const request = decodeLoanRequest(asked);
    const store = this.#options.store();
    const problem = this.#problemOf(request, store);
    if (problem !== undefined) {
      sayWhyNot(socket, problem);
      return undefined;
    }
    const loan = this.#desk.lend(store, request);
    if (loan === undefined) return this.#refuseLoan(socket);
    const head = encodeStreamAnswer({ kind: 'loan', byteLength: LOAN_TERMS_BYTES });
    socket.write(Buffer.concat([head, encodeLoanTerms(loan.terms)]));
    return loan;
  }

  /** The value is here, and comes when it is asked for. */
  #refuseLoan(socket: Duplex): undefined {
    socket.write(encodeStreamAnswer({ kind: 'loan', byteLength: 0 }));
  }

  async #serve(asked: Uint8Array, socket: Duplex): Promise<void> {
    const request = decodeStreamRequest(asked);
    const store = this.#options.store();
    const problem = this.#problemOf(request, store);
    if (problem !== undefined) {
      sayWhyNot(socket, problem);
      return;
    }
    const { task, offset, totalBytes, checks } = request;
    socket.write(encodeStreamAnswer({ kind: 'bytes', byteLength: totalBytes - offset }));
    const value = store.getToSend(task);
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

  #problemOf(
    request: Pick<StreamRequest, 'task' | 'totalBytes'>,
    store: Store,
  ): string | undefined {
    const { task, totalBytes } = request;
    const { workerName } = this.#options;
    const sizeBytes = store.sizeOf(task);
    if (sizeBytes === undefined) {
      return `task ${task}: worker ${workerName} does not hold its result`;
    }
    if (sizeBytes === totalBytes) return undefined;
    return `worker ${workerName} has a value of ${sizeBytes} bytes, expected one of ${totalBytes}`;
  }
}

function sayWhyNot(socket: Duplex, problem: string): void {
  const message = Buffer.from(problem);
  const head = encodeStreamAnswer({ kind: 'failed', byteLength: message.byteLength });
  socket.write(Buffer.concat([head, message]));
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

import type { Socket } from 'node:net';
import { crc32 } from 'node:zlib';

import {
  decodeStreamAnswer,
  encodeStreamRequest,
  FarmError,
  LIMITS,
  STREAM_ANSWER_BYTES,
  STREAM_PIECE_BYTES,
  type DataStreamOptions,
} from '@farm/protocol';

/** What a bare connection is opened with; see `DataStreamOptions` of the protocol. */
export type StreamReader = Pick<DataStreamOptions, 'onBytes' | 'room'>;

/** Opens a bare connection to a holder. */
export type DialStream = (address: string, reader: StreamReader) => Promise<Socket>;

/** Read at once, where it goes straight to where it stays: more holds up the event loop. */
const READ_BYTES_MAX = 1_048_576;

/** Longest message of a holder that has nothing to send, bytes. */
const MESSAGE_BYTES_MAX = 4_096;

/** A checksum did not match: to ask again may help. */
export class DamagedBytes extends FarmError {
  constructor(offset: number) {
    super('ERR_LOST_DATA', `bytes from ${offset} on arrived damaged: their checksum is wrong`);
  }
}

/** A value on its way. What has arrived stays, for another holder to go on with. */
export interface PartialValue {
  readonly bytes: Uint8Array;
  /** So many bytes from the start have arrived, and are right where they were checked. */
  arrivedBytes: number;
}

/** The fetch that goes on. */
interface Fetch {
  readonly into: PartialValue;
  readonly checks: boolean;
  readonly end: PromiseWithResolvers<void>;
  /** Head of the answer, then the message of one that failed. */
  head: Buffer;
  isOk: boolean;
  /** CRC-32 of what has arrived of the piece. */
  check: number;
  /** What has arrived of the checksum behind the piece. */
  checkBytes: Buffer;
  /** Where the next byte goes; past `into.arrivedBytes` where a piece is not complete. */
  at: number;
  /** Where the piece began. */
  pieceStart: number;
}

/**
 * A connection to a holder that large values come over on, one at a time, each as one stream. What
 * arrives is read to where it stays; with checksums in between it is copied there, once.
 */
export class DataStream {
  #socket: Socket | undefined;
  #fetch: Fetch | undefined;
  #closed: FarmError | undefined;

  /** @throws FarmError where the holder cannot be reached, see `dialDataStream`. */
  static async open(address: string, dial: DialStream): Promise<DataStream> {
    const stream = new DataStream();
    const socket = await dial(address, {
      onBytes: (bytes) => stream.#take(bytes),
      room: () => stream.#room(),
    });
    stream.#socket = socket;
    const lost = (problem: string): void => {
      stream.#end(new FarmError('ERR_CONNECTION_LOST', `the connection to ${address} ${problem}`));
    };
    socket.on('error', (error) => lost(`was lost: ${error.message}`));
    socket.once('close', () => lost('was lost'));
    socket.setTimeout(LIMITS.heartbeatTimeoutMs, () => {
      if (stream.#fetch === undefined) return;
      lost(`brought nothing for ${LIMITS.heartbeatTimeoutMs / 1_000} s`);
    });
    if (socket.destroyed) lost('was lost');
    return stream;
  }

  /** Whether it can be used (again). */
  get isOpen(): boolean {
    return this.#closed === undefined;
  }

  /**
   * Brings the rest of a value over.
   *
   * @throws FarmError `ERR_LOST_DATA` where the holder has not got it, or its bytes arrived
   * damaged; `ERR_CONNECTION_LOST` or `ERR_PROTOCOL` where the connection ended.
   */
  async fetch(task: number, into: PartialValue, checks: boolean): Promise<void> {
    if (this.#closed !== undefined) throw this.#closed;
    const end = Promise.withResolvers<void>();
    const offset = into.arrivedBytes;
    this.#fetch = {
      into,
      checks,
      end,
      head: Buffer.alloc(0),
      isOk: false,
      check: 0,
      checkBytes: Buffer.alloc(0),
      at: offset,
      pieceStart: offset,
    };
    const totalBytes = into.bytes.byteLength;
    this.#socket?.write(encodeStreamRequest({ task, offset, totalBytes, checks }));
    await end.promise;
  }

  /** Ends the connection. Idempotent. */
  close(): void {
    this.#end(new FarmError('ERR_CLOSED', 'the worker is closing'));
  }

  #end(why: FarmError): void {
    this.#closed ??= why;
    this.#socket?.destroy();
    this.#fetch?.end.reject(this.#closed);
    this.#fetch = undefined;
  }

  /** Where the rest of the value goes, which is what arrives next. */
  #room(): Uint8Array | undefined {
    const fetch = this.#fetch;
    if (fetch === undefined || !fetch.isOk || fetch.checks) return undefined;
    return fetch.into.bytes.subarray(fetch.at, fetch.at + READ_BYTES_MAX);
  }

  #take(bytes: Uint8Array): void {
    try {
      let rest = bytes;
      while (rest.byteLength > 0) {
        const fetch = this.#fetch;
        if (fetch === undefined) throw new FarmError('ERR_PROTOCOL', 'data that nobody asked for');
        rest = fetch.isOk ? this.#takeValue(fetch, rest) : this.#takeHead(fetch, rest);
      }
    } catch (error) {
      this.#end(error instanceof FarmError ? error : new FarmError('ERR_PROTOCOL', String(error)));
    }
  }

  #takeHead(fetch: Fetch, bytes: Uint8Array): Uint8Array {
    fetch.head = Buffer.concat([fetch.head, bytes]);
    if (fetch.head.byteLength < STREAM_ANSWER_BYTES) return NOTHING;
    const { isOk, byteLength } = decodeStreamAnswer(fetch.head.subarray(0, STREAM_ANSWER_BYTES));
    const rest = fetch.head.subarray(STREAM_ANSWER_BYTES);
    if (isOk) {
      if (byteLength !== fetch.into.bytes.byteLength - fetch.at) {
        throw new FarmError(
          'ERR_PROTOCOL',
          `${byteLength} bytes from ${fetch.at} are not the rest`,
        );
      }
      fetch.isOk = true;
      if (byteLength === 0) this.#finish();
      return rest;
    }
    if (byteLength > MESSAGE_BYTES_MAX || rest.byteLength > byteLength) {
      throw new FarmError('ERR_PROTOCOL', 'the answer of a holder makes no sense');
    }
    if (rest.byteLength === byteLength) {
      this.#finish(new FarmError('ERR_LOST_DATA', rest.toString()));
    }
    return NOTHING;
  }

  #takeValue(fetch: Fetch, bytes: Uint8Array): Uint8Array {
    const { into, checks } = fetch;
    const totalBytes = into.bytes.byteLength;
    if (!checks) {
      const taken = bytes.subarray(0, totalBytes - fetch.at);
      if (taken.buffer !== into.bytes.buffer) into.bytes.set(taken, fetch.at);
      fetch.at += taken.byteLength;
      into.arrivedBytes = fetch.at;
      if (fetch.at === totalBytes) this.#finish();
      return bytes.subarray(taken.byteLength);
    }
    const pieceEnd = Math.min(fetch.pieceStart + STREAM_PIECE_BYTES, totalBytes);
    if (fetch.at < pieceEnd) {
      const taken = bytes.subarray(0, pieceEnd - fetch.at);
      fetch.check = crc32(taken, fetch.check);
      into.bytes.set(taken, fetch.at);
      fetch.at += taken.byteLength;
      return bytes.subarray(taken.byteLength);
    }
    const missing = 4 - fetch.checkBytes.byteLength;
    fetch.checkBytes = Buffer.concat([fetch.checkBytes, bytes.subarray(0, missing)]);
    if (fetch.checkBytes.byteLength === 4) this.#checkPiece(fetch);
    return bytes.subarray(missing);
  }

  #checkPiece(fetch: Fetch): void {
    if (fetch.checkBytes.readUInt32LE() !== fetch.check) {
      throw new DamagedBytes(fetch.pieceStart);
    }
    fetch.into.arrivedBytes = fetch.at;
    fetch.pieceStart = fetch.at;
    fetch.check = 0;
    fetch.checkBytes = Buffer.alloc(0);
    if (fetch.at === fetch.into.bytes.byteLength) this.#finish();
  }

  #finish(why?: FarmError): void {
    const fetch = this.#fetch;
    this.#fetch = undefined;
    if (why === undefined) fetch?.end.resolve();
    else fetch?.end.reject(why);
  }
}

const NOTHING = new Uint8Array(0);

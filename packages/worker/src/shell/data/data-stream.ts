import type { Socket } from 'node:net';
import { crc32 } from 'node:zlib';

import {
  decodeLoanTerms,
  encodeLoanRequest,
  encodeLoanReturn,
  encodeStreamRequest,
  FarmError,
  LIMITS,
  STREAM_PIECE_BYTES,
  type DataStreamOptions,
  type LoanTerms,
  type OpenDataStream,
} from '@farm/protocol';

import { AnswerStart } from './answer-start.ts';
import type { PartialValue } from './partial-value.ts';

/** What a bare connection is opened with; see `DataStreamOptions` of the protocol. */
export type StreamReader = Pick<DataStreamOptions, 'onBytes' | 'room'>;

/** Opens a bare connection to a holder. */
export type DialStream = (address: string, reader: StreamReader) => Promise<OpenDataStream>;

/** Read at once, where it goes straight to where it stays: more holds up the event loop. */
const READ_BYTES_MAX = 1_048_576;

/** A checksum did not match: to ask again may help. */
export class DamagedBytes extends FarmError {
  constructor(offset: number) {
    super('ERR_LOST_DATA', `bytes from ${offset} on arrived damaged: their checksum is wrong`);
  }
}

/** The fetch that goes on. */
interface Fetch {
  readonly into: PartialValue;
  readonly checks: boolean;
  readonly end: PromiseWithResolvers<void>;
  readonly start: AnswerStart;
  /** Whether what arrives next is the value. */
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

/** The question that is open whether a value can be read where it lies. */
interface Ask {
  readonly end: PromiseWithResolvers<LoanTerms | undefined>;
  readonly start: AnswerStart;
}

/**
 * A connection to a holder that large values come over on, one at a time, each as one stream. What
 * arrives is read to where it stays; with checksums in between it is copied there, once. From a
 * holder on this host a value may be borrowed instead, to be read in the holder's memory.
 */
export class DataStream {
  #socket: Socket | undefined;
  #isLocal = false;
  #fetch: Fetch | undefined;
  #ask: Ask | undefined;
  #closed: FarmError | undefined;
  readonly #over = new AbortController();

  /** @throws FarmError where the holder cannot be reached, see `dialDataStream`. */
  static async open(address: string, dial: DialStream): Promise<DataStream> {
    const stream = new DataStream();
    const { socket, isLocal } = await dial(address, {
      onBytes: (bytes) => stream.#take(bytes),
      room: () => stream.#room(),
    });
    stream.#socket = socket;
    stream.#isLocal = isLocal;
    const lost = (problem: string): void => {
      stream.#end(new FarmError('ERR_CONNECTION_LOST', `the connection to ${address} ${problem}`));
    };
    socket.on('error', (error) => lost(`was lost: ${error.message}`));
    socket.once('close', () => lost('was lost'));
    socket.setTimeout(LIMITS.heartbeatTimeoutMs, () => {
      if (stream.#fetch === undefined && stream.#ask === undefined) return;
      lost(`brought nothing for ${LIMITS.heartbeatTimeoutMs / 1_000} s`);
    });
    if (socket.destroyed) lost('was lost');
    return stream;
  }

  /** Whether it can be used (again). */
  get isOpen(): boolean {
    return this.#closed === undefined;
  }

  /** Whether the holder is a process of this user on this host. */
  get isLocal(): boolean {
    return this.#isLocal;
  }

  /** Aborts when the connection ends. */
  get signal(): AbortSignal {
    return this.#over.signal;
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
      start: new AnswerStart(),
      isOk: false,
      check: 0,
      checkBytes: Buffer.alloc(0),
      at: offset,
      pieceStart: offset,
    };
    const { totalBytes } = into;
    this.#say(encodeStreamRequest({ task, offset, totalBytes, checks }), into);
    await end.promise;
  }

  /**
   * Asks for a value to stay where it is, so that this process can read it in the holder's memory. It
   * does until it is given back, or the connection ends.
   *
   * @param reader - This process.
   * @returns Undefined where the holder has it, but does not lend it.
   * @throws FarmError see `fetch`.
   */
  async borrow(task: number, reader: number, into: PartialValue): Promise<LoanTerms | undefined> {
    if (this.#closed !== undefined) throw this.#closed;
    const end = Promise.withResolvers<LoanTerms | undefined>();
    this.#ask = { end, start: new AnswerStart() };
    const { totalBytes } = into;
    this.#say(encodeLoanRequest({ task, reader, totalBytes }), into);
    return end.promise;
  }

  /** What was borrowed was read, or is not needed any more. */
  giveBack(): void {
    if (this.#closed === undefined) this.#socket?.write(encodeLoanReturn());
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
    this.#ask?.end.reject(this.#closed);
    this.#ask = undefined;
    this.#over.abort(this.#closed);
  }

  /** Asks, and gets the memory for the value while the holder is looking for it. */
  #say(request: Uint8Array, into: PartialValue): void {
    this.#socket?.write(request);
    try {
      into.allocate();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      this.#end(new FarmError('ERR_LOST_DATA', `no memory for ${into.totalBytes} bytes: ${why}`));
    }
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
        if (this.#ask !== undefined) rest = this.#takeTerms(this.#ask, rest);
        else if (fetch?.isOk === true) rest = this.#takeValue(fetch, rest);
        else if (fetch !== undefined) rest = this.#takeStart(fetch, rest);
        else throw new FarmError('ERR_PROTOCOL', 'data that nobody asked for');
      }
    } catch (error) {
      this.#end(error instanceof FarmError ? error : new FarmError('ERR_PROTOCOL', String(error)));
    }
  }

  #takeStart(fetch: Fetch, bytes: Uint8Array): Uint8Array {
    const rest = fetch.start.take(bytes);
    const { answer, body } = fetch.start;
    if (answer?.kind === 'loan') throw new FarmError('ERR_PROTOCOL', 'a loan for a fetch');
    if (answer?.kind === 'failed') {
      this.#finish(new FarmError('ERR_LOST_DATA', body.toString()));
    }
    if (answer?.kind !== 'bytes') return rest;
    const { byteLength } = answer;
    if (byteLength !== fetch.into.totalBytes - fetch.at) {
      throw new FarmError('ERR_PROTOCOL', `${byteLength} bytes from ${fetch.at} are not the rest`);
    }
    fetch.isOk = true;
    if (byteLength === 0) this.#finish();
    return rest;
  }

  #takeTerms({ start, end }: Ask, bytes: Uint8Array): Uint8Array {
    const rest = start.take(bytes);
    const { answer, body } = start;
    if (answer === undefined) return rest;
    if (answer.kind === 'bytes') throw new FarmError('ERR_PROTOCOL', 'bytes instead of a loan');
    const terms = answer.byteLength === 0 ? undefined : body;
    if (answer.kind === 'failed') end.reject(new FarmError('ERR_LOST_DATA', body.toString()));
    else end.resolve(terms === undefined ? undefined : decodeLoanTerms(terms));
    this.#ask = undefined;
    return rest;
  }

  #takeValue(fetch: Fetch, bytes: Uint8Array): Uint8Array {
    const { into, checks } = fetch;
    const { totalBytes } = into;
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
    if (fetch.at === fetch.into.totalBytes) this.#finish();
  }

  #finish(why?: FarmError): void {
    const fetch = this.#fetch;
    this.#fetch = undefined;
    if (why === undefined) fetch?.end.resolve();
    else fetch?.end.reject(why);
  }
}

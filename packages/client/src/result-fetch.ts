import {
  type BulkFrame,
  type DataFailed,
  type Failure,
  FarmError,
  type GetResult,
  LIMITS,
  getResult,
} from '@farm/protocol';

/** Chunks asked for at one time, over all results: with `bulkChunkBytes` bounds the memory. */
const REQUESTS_MAX = 64;

/** One attempt to get the bytes of a result came to nothing; another one may succeed. */
export class TransferFailed extends Error {
  /** What the scheduler said; null where the result changed its size on the way. */
  readonly failure: Failure | null;

  constructor(failure: Failure | null) {
    super(failure?.message ?? 'the result was computed again and has another size');
    this.failure = failure;
  }
}

interface Transfer {
  readonly id: number;
  readonly sizeBytes: number;
  readonly resolve: (bytes: Uint8Array) => void;
  readonly reject: (error: unknown) => void;
  readonly requests: Set<number>;
  bytes: Uint8Array | undefined;
  /** Offset of the next chunk to ask for. */
  next: number;
  missingBytes: number;
}

interface Request {
  readonly transfer: Transfer;
  readonly offset: number;
  readonly length: number;
}

/**
 * Gets results that did not come with their report: in chunks, several ahead, with a bound over
 * all of them. Knows the connection only by the requests it sends.
 */
export class ResultFetcher {
  readonly #requests = new Map<number, Request>();
  readonly #send: (message: GetResult) => void;
  /** Transfers with chunks to ask for. */
  readonly #queue = new Set<Transfer>();
  #next = 1;

  constructor(send: (message: GetResult) => void) {
    this.#send = send;
  }

  /**
   * Gets the bytes of result `id`, which are the caller's own.
   *
   * @throws TransferFailed where they are not to be had now.
   */
  fetch(id: number, sizeBytes: number): Promise<Uint8Array> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
    this.#queue.add({
      id,
      sizeBytes,
      resolve,
      reject,
      requests: new Set(),
      bytes: undefined,
      next: 0,
      missingBytes: sizeBytes,
    });
    this.#pump();
    return promise;
  }

  /** Takes in a chunk. */
  bulk(frame: BulkFrame): void {
    const request = this.#requests.get(frame.request);
    if (request === undefined) return;
    const { transfer } = request;
    this.#forget(frame.request, transfer);
    if (frame.totalBytes !== transfer.sizeBytes) this.#fail(transfer, new TransferFailed(null));
    else if (!isAnswer(frame, request)) this.#fail(transfer, badChunk(frame));
    else this.#store(transfer, frame);
    this.#pump();
  }

  /** Takes in that a chunk cannot be had. */
  failed(message: DataFailed): void {
    const request = this.#requests.get(message.request);
    if (request === undefined) return;
    this.#forget(message.request, request.transfer);
    this.#fail(request.transfer, new TransferFailed(message.failure));
    this.#pump();
  }

  /** Rejects all of them. */
  rejectAll(error: FarmError): void {
    const transfers = new Set([...this.#requests.values()].map((request) => request.transfer));
    for (const transfer of [...transfers, ...this.#queue]) transfer.reject(error);
    this.#requests.clear();
    this.#queue.clear();
  }

  #pump(): void {
    for (const transfer of this.#queue) {
      while (transfer.requests.size < LIMITS.bulkChunksInFlightMax) {
        if (this.#requests.size >= REQUESTS_MAX) return;
        this.#request(transfer);
        if (transfer.next < transfer.sizeBytes) continue;
        this.#queue.delete(transfer);
        break;
      }
    }
  }

  #request(transfer: Transfer): void {
    const offset = transfer.next;
    const length = Math.min(LIMITS.bulkChunkBytes, transfer.sizeBytes - offset);
    const request = this.#next;
    // A request is a u32 on the wire.
    this.#next = request === 2 ** 32 - 1 ? 1 : request + 1;
    transfer.next += length;
    transfer.requests.add(request);
    this.#requests.set(request, { transfer, offset, length });
    this.#send(getResult(request, transfer.id, offset, length));
  }

  #store(transfer: Transfer, frame: BulkFrame): void {
    transfer.missingBytes -= frame.bytes.byteLength;
    if (frame.bytes.byteLength === transfer.sizeBytes) {
      transfer.bytes = frame.bytes;
    } else {
      try {
        transfer.bytes ??= new Uint8Array(transfer.sizeBytes);
      } catch (cause) {
        const message = `a result of ${transfer.sizeBytes} bytes does not fit into this process`;
        this.#fail(transfer, new FarmError('ERR_LIMIT', message, { cause }));
        return;
      }
      transfer.bytes.set(frame.bytes, frame.offset);
    }
    if (transfer.missingBytes === 0) transfer.resolve(transfer.bytes);
  }

  #fail(transfer: Transfer, error: Error): void {
    for (const request of transfer.requests) this.#requests.delete(request);
    this.#queue.delete(transfer);
    transfer.reject(error);
  }

  #forget(number: number, transfer: Transfer): void {
    this.#requests.delete(number);
    transfer.requests.delete(number);
  }
}

function isAnswer(frame: BulkFrame, request: Request): boolean {
  return frame.offset === request.offset && frame.bytes.byteLength === request.length;
}

function badChunk(frame: BulkFrame): FarmError {
  return new FarmError(
    'ERR_PROTOCOL',
    `the scheduler answered with ${frame.bytes.byteLength} bytes at ${frame.offset}, ` +
      'which were not asked for',
  );
}

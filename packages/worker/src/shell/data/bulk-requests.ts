import { FarmError, type BulkFrame, type Failure } from '@farm/protocol';

/**
 * The questions for data that are open on one connection: matches bulk frames and `data-failed`
 * messages to the promises that wait for them.
 */
export class BulkRequests {
  readonly #open = new Map<number, PromiseWithResolvers<BulkFrame>>();
  #next = 1;
  #closed: FarmError | undefined;

  /** Open questions. */
  get size(): number {
    return this.#open.size;
  }

  /**
   * Asks: numbers the question and hands the number to `send`.
   *
   * @throws FarmError what the connection ended with, or what the other side answered.
   */
  ask(send: (request: number) => void): Promise<BulkFrame> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    const request = this.#next++;
    const answer = Promise.withResolvers<BulkFrame>();
    this.#open.set(request, answer);
    send(request);
    return answer.promise;
  }

  /** A chunk arrived. Answers that nobody waits for are dropped. */
  answer(frame: BulkFrame): void {
    this.#take(frame.request)?.resolve(frame);
  }

  /** The other side cannot answer. */
  fail(request: number, why: Failure): void {
    this.#take(request)?.reject(new FarmError(why.code, why.message));
  }

  /** The connection ended. */
  close(why: FarmError): void {
    this.#closed = why;
    for (const answer of this.#open.values()) answer.reject(why);
    this.#open.clear();
  }

  #take(request: number): PromiseWithResolvers<BulkFrame> | undefined {
    const answer = this.#open.get(request);
    this.#open.delete(request);
    return answer;
  }
}

import { decodeStreamAnswer, FarmError, STREAM_ANSWER_BYTES } from '@farm/protocol';

/** Longest message of a holder that has nothing to send, bytes. */
const MESSAGE_BYTES_MAX = 4_096;

/**
 * Collects what an answer on a data stream begins with: its head, and what follows it unless these are
 * the bytes of a value.
 */
export class AnswerStart {
  #collected = Buffer.alloc(0);

  /**
   * Takes what arrived, and gives back what is not part of it.
   *
   * @throws FarmError `ERR_PROTOCOL` where it is no answer.
   */
  take(bytes: Uint8Array): Uint8Array {
    const missing = this.#missing();
    const taken = bytes.subarray(0, missing);
    this.#collected = Buffer.concat([this.#collected, taken]);
    const rest = bytes.subarray(missing);
    // The head tells how much follows.
    return rest.byteLength > 0 && this.#missing() > 0 ? this.take(rest) : rest;
  }

  /** What it says, once all of it is there. */
  get answer(): ReturnType<typeof decodeStreamAnswer> | undefined {
    return this.#missing() > 0 ? undefined : this.#head();
  }

  /** What follows the head: a message, or the terms of a loan. */
  get body(): Buffer {
    return this.#collected.subarray(STREAM_ANSWER_BYTES);
  }

  #missing(): number {
    const { byteLength } = this.#collected;
    if (byteLength < STREAM_ANSWER_BYTES) return STREAM_ANSWER_BYTES - byteLength;
    const head = this.#head();
    if (head.kind === 'bytes') return 0;
    if (head.byteLength > MESSAGE_BYTES_MAX) {
      throw new FarmError('ERR_PROTOCOL', 'the answer of a holder makes no sense');
    }
    return STREAM_ANSWER_BYTES + head.byteLength - byteLength;
  }

  #head(): ReturnType<typeof decodeStreamAnswer> {
    return decodeStreamAnswer(this.#collected.subarray(0, STREAM_ANSWER_BYTES));
  }
}

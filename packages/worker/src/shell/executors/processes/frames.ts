/** How the worker and the process of a slot cut what they say to each other out of a stream. */
import type { Writable } from 'node:stream';

/** Length of the header, then of the body. */
const PREFIX_BYTES = 12;

const NOTHING = new Uint8Array(0);

/** Writes a message: a header that is JSON, and bytes. */
export function writeFrame(
  to: Writable,
  header: object,
  body: Uint8Array = NOTHING,
  written?: () => void,
): void {
  const text = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32LE(text.byteLength, 0);
  prefix.writeDoubleLE(body.byteLength, 4);
  if (body.byteLength === 0) {
    to.write(Buffer.concat([prefix, text]), written);
  } else {
    to.write(Buffer.concat([prefix, text]));
    to.write(body, written);
  }
}

/** Puts messages together again from pieces of a stream. */
export class FrameReader {
  readonly #take: (header: unknown, body: Uint8Array) => void;
  readonly #prefix = Buffer.alloc(PREFIX_BYTES);
  #header: Buffer | undefined;
  #body: Uint8Array | undefined;
  /** Bytes of the part that is being read. */
  #filled = 0;

  /** @param take - gets each message; the body is its own, aligned memory */
  constructor(take: (header: unknown, body: Uint8Array) => void) {
    this.#take = take;
  }

  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.byteLength) {
      const part = this.#body ?? this.#header ?? this.#prefix;
      const count = Math.min(part.byteLength - this.#filled, chunk.byteLength - at);
      part.set(chunk.subarray(at, at + count), this.#filled);
      this.#filled += count;
      at += count;
      if (this.#filled < part.byteLength) return;
      this.#filled = 0;
      this.#partDone();
    }
  }

  #partDone(): void {
    if (this.#header === undefined) {
      this.#header = Buffer.alloc(this.#prefix.readUInt32LE(0));
      return;
    }
    if (this.#body === undefined) {
      const length = this.#prefix.readDoubleLE(4);
      if (length > 0) {
        this.#body = new Uint8Array(length);
        return;
      }
    }
    const header: unknown = JSON.parse(this.#header.toString());
    const body = this.#body ?? NOTHING;
    this.#header = undefined;
    this.#body = undefined;
    this.#take(header, body);
  }
}

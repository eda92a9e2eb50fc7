/**
 * Keeps the beginning and the end of a stream of unknown length in bounded memory, since the first
 * and the last lines are the ones that tell what happened.
 */
export class CapturedOutput {
  readonly #headMax: number;
  readonly #tailMax: number;
  readonly #head: Uint8Array[] = [];
  #headBytes = 0;
  #tail: Uint8Array[] = [];
  #tailBytes = 0;
  #totalBytes = 0;

  /** @param bytesMax - of what is kept; half for the beginning, half for the end */
  constructor(bytesMax: number) {
    this.#headMax = Math.ceil(bytesMax / 2);
    this.#tailMax = bytesMax - this.#headMax;
  }

  push(chunk: Uint8Array): void {
    this.#totalBytes += chunk.byteLength;
    const headRoom = this.#headMax - this.#headBytes;
    if (headRoom > 0) {
      const part = chunk.subarray(0, headRoom);
      this.#head.push(part);
      this.#headBytes += part.byteLength;
    }
    const rest = chunk.subarray(Math.max(0, headRoom));
    if (rest.byteLength === 0) return;
    this.#tail.push(rest);
    this.#tailBytes += rest.byteLength;
    // Twice the tail is gathered before it is cut, so that each byte is copied at most once.
    if (this.#tailBytes > 2 * this.#tailMax + 65_536) this.#cut();
  }

  /** What was kept, as UTF-8; bytes that are none become U+FFFD. */
  text(): string {
    if (this.#tailBytes > this.#tailMax) this.#cut();
    return keptText(Buffer.concat(this.#head), Buffer.concat(this.#tail), this.#totalBytes);
  }

  #cut(): void {
    const all = Buffer.concat(this.#tail);
    const tail = Buffer.from(all.subarray(all.byteLength - this.#tailMax));
    this.#tail = [tail];
    this.#tailBytes = tail.byteLength;
  }
}

/**
 * Text of what was kept of `totalBytes`, as UTF-8, with a note of how much was dropped in between;
 * no character is cut through.
 */
export function keptText(head: Buffer, tail: Buffer, totalBytes: number): string {
  const dropped = totalBytes - head.byteLength - tail.byteLength;
  if (dropped === 0) return Buffer.concat([head, tail]).toString('utf8');
  const headEnd = head.byteLength - unfinishedBytes(head);
  const tailStart = continuationBytes(tail);
  const lost = dropped + head.byteLength - headEnd + tailStart;
  return (
    head.toString('utf8', 0, headEnd) +
    `\n[${lost} bytes of output dropped here]\n` +
    tail.toString('utf8', tailStart)
  );
}

/** Length of a UTF-8 character that begins but does not end in the bytes. */
function unfinishedBytes(bytes: Uint8Array): number {
  for (let back = 1; back <= Math.min(3, bytes.byteLength); back++) {
    const byte = bytes[bytes.byteLength - back] ?? 0;
    if (byte >= 0xf0) return back < 4 ? back : 0;
    if (byte >= 0xe0) return back < 3 ? back : 0;
    if (byte >= 0xc0) return back < 2 ? back : 0;
    if (byte < 0x80) return 0;
  }
  return 0;
}

/** Bytes at the beginning that belong to a character before them. */
function continuationBytes(bytes: Uint8Array): number {
  let count = 0;
  while (count < 3 && ((bytes[count] ?? 0) & 0xc0) === 0x80) count++;
  return count;
}

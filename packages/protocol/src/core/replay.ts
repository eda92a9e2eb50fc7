/**
 * What one end of a connection keeps so that a session outlives its socket: the frames the peer has
 * not acknowledged, and how many of the peer's have arrived. After a cut both ends tell their
 * counts, each forgets what the other has, and sends the rest again, in order. So every frame is
 * taken in exactly once, whatever was on its way when the socket broke.
 */
export class Replay<Frame> {
  readonly #kept: { readonly frame: Frame; readonly bytes: number }[] = [];
  /** Entries at the front of `#kept` that are acknowledged. */
  #head = 0;
  #bytes = 0;
  #acknowledged = 0;
  #received = 0;

  /** Frames that have arrived: what the peer may forget. */
  get received(): number {
    return this.#received;
  }

  /** Frames sent so far. */
  get sent(): number {
    return this.#acknowledged + this.#kept.length - this.#head;
  }

  /** Bytes of the frames that are kept. */
  get bytes(): number {
    return this.#bytes;
  }

  /** A frame arrived. */
  arrived(): void {
    this.#received += 1;
  }

  /** A frame is sent, or to be sent as soon as there is a socket: keeps it. */
  keep(frame: Frame, bytes: number): void {
    this.#kept.push({ frame, bytes });
    this.#bytes += bytes;
  }

  /** Whether a peer may say that so many frames have arrived: it never takes one back. */
  isPossible(count: number): boolean {
    return Number.isSafeInteger(count) && count >= this.#acknowledged && count <= this.sent;
  }

  /** The peer has so many frames: forgets them. The caller has checked {@link isPossible}. */
  acknowledge(count: number): void {
    for (; this.#acknowledged < count; this.#acknowledged++) {
      this.#bytes -= this.#kept[this.#head]?.bytes ?? 0;
      this.#head += 1;
    }
    if (this.#head * 2 >= this.#kept.length) {
      this.#kept.splice(0, this.#head);
      this.#head = 0;
    }
  }

  /** What the peer has not acknowledged, in order. */
  unacknowledged(): readonly Frame[] {
    return this.#kept.slice(this.#head).map(({ frame }) => frame);
  }

  /** The session is over: nothing is sent again. */
  clear(): void {
    this.#acknowledged = this.sent;
    this.#kept.length = 0;
    this.#head = 0;
    this.#bytes = 0;
  }
}

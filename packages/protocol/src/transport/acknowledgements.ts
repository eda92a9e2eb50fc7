/** What arrived is acknowledged after so many bytes or frames, or so much time. */
const ACK_BYTES = 1_048_576;
const ACK_FRAMES = 1_024;
const ACK_MS = 1_000;

/**
 * Decides when the peer is told what has arrived: soon where it is much, so that the peer need not
 * keep it. The timer does not keep the process alive.
 */
export class Acknowledgements {
  readonly #acknowledge: () => void;
  #timer: NodeJS.Timeout | undefined;
  #frames = 0;
  #bytes = 0;

  /** @param acknowledge - Tells the peer of everything that has arrived. */
  constructor(acknowledge: () => void) {
    this.#acknowledge = acknowledge;
  }

  /** A frame of so many bytes arrived. */
  arrived(bytes: number): void {
    this.#frames += 1;
    this.#bytes += bytes;
    if (this.#frames >= ACK_FRAMES || this.#bytes >= ACK_BYTES) {
      this.#due();
    } else if (this.#timer === undefined) {
      this.#timer = setTimeout(() => this.#due(), ACK_MS);
      this.#timer.unref();
    }
  }

  /** Nothing is acknowledged before something else arrives. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#frames = 0;
    this.#bytes = 0;
  }

  #due(): void {
    this.stop();
    this.#acknowledge();
  }
}

/** Memory is got ahead so long after the last was taken, when the worker has other things behind it. */
const AHEAD_MS = 100;

/** Smaller values are not worth it: to get their memory takes no time. */
const AHEAD_BYTES_MIN = 16_777_216;

/** For larger ones it makes no difference, and systems that promise no more than they have would lack it. */
const AHEAD_BYTES_MAX = 1_073_741_824;

/**
 * Memory for values that come from elsewhere. To get a lot of it has the engine mark its whole heap,
 * which holds up this thread and competes with those that copy. Values of equal size often follow each
 * other, parts of one array for example, so the memory for another is got ahead. Nothing touches it:
 * until then it is an address, and no page.
 */
export class MemoryAhead {
  #spare: ArrayBuffer | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @throws RangeError where there is none to be had. */
  take(sizeBytes: number): ArrayBuffer {
    if (sizeBytes < AHEAD_BYTES_MIN) return new ArrayBuffer(sizeBytes);
    const spare = this.#spare;
    this.#spare = undefined;
    clearTimeout(this.#timer);
    if (sizeBytes <= AHEAD_BYTES_MAX) {
      this.#timer = setTimeout(() => this.#prepare(sizeBytes), AHEAD_MS);
      this.#timer.unref();
    }
    return spare?.byteLength === sizeBytes ? spare : new ArrayBuffer(sizeBytes);
  }

  /** Gives up what was got. */
  close(): void {
    clearTimeout(this.#timer);
    this.#spare = undefined;
  }

  #prepare(sizeBytes: number): void {
    try {
      this.#spare = new ArrayBuffer(sizeBytes);
    } catch {
      // Whoever needs it is told that there is none.
    }
  }
}

import { roomBytes } from '../memory-files/file-room.ts';
import type { MemoryAhead } from './memory-ahead.ts';

/** A value on its way. What has arrived stays, for another holder to go on with. */
export class PartialValue {
  readonly totalBytes: number;
  /** So many bytes from the start have arrived, and are right where they were checked. */
  arrivedBytes = 0;
  readonly #memory: MemoryAhead | 'shared';
  #bytes: Uint8Array | undefined;

  /** @param memory - Where its memory comes from, or that it is to be one that threads can share. */
  constructor(totalBytes: number, memory: MemoryAhead | 'shared') {
    this.totalBytes = totalBytes;
    this.#memory = memory;
  }

  /** Where it goes. @throws RangeError see `allocate` */
  get bytes(): Uint8Array {
    return this.#bytes ?? this.allocate();
  }

  /**
   * Gets the memory for it, where there is none yet. That may have the engine collect garbage for
   * milliseconds, which better pass while a holder is looking.
   *
   * @throws RangeError where none is to be had.
   */
  allocate(): Uint8Array {
    const room = roomBytes(this.totalBytes);
    this.#bytes ??= new Uint8Array(
      this.#memory === 'shared' ? new SharedArrayBuffer(room) : this.#memory.take(room),
      0,
      this.totalBytes,
    );
    return this.#bytes;
  }

  /** Where in its memory the value is to begin, before anything of it has arrived. */
  moveTo(offset: number): void {
    this.#bytes = new Uint8Array(this.allocate().buffer, offset, this.totalBytes);
  }

  /** Gives up its memory, before anything has arrived: there is something wrong with it. */
  discard(): void {
    this.#bytes = undefined;
  }
}

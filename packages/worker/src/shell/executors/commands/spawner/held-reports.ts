import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BYTES = 65_536;

/**
 * Where a spawner keeps reports that it has not sent yet: a file without a name that it maps into
 * its memory. What is in there outlives it, so that an end that it saw is never lost with it.
 */
export class HeldReports {
  readonly fd: number;
  #isOpen = true;

  private constructor(fd: number) {
    this.fd = fd;
  }

  /** @returns undefined where there is no place for such a file */
  static make(): HeldReports | undefined {
    try {
      const path = join(tmpdir(), `farm-spawner-${randomUUID()}`);
      const fd = openSync(path, 'wx+', 0o600);
      unlinkSync(path);
      // Its blocks are there from now on: to touch one that a full disk has no room for is deadly.
      writeSync(fd, Buffer.alloc(BYTES));
      return new HeldReports(fd);
    } catch {
      return undefined;
    }
  }

  /** The frames in it, and closes it: its spawner has ended. */
  take(): Buffer {
    if (!this.#isOpen) return Buffer.alloc(0);
    this.#isOpen = false;
    const all = Buffer.alloc(BYTES);
    readSync(this.fd, all, 0, BYTES, 0);
    closeSync(this.fd);
    return all.subarray(4, 4 + all.readUInt32LE(0));
  }
}

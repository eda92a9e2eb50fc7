import { randomUUID } from 'node:crypto';
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const BYTES = 65_536;
/** How many commands that run it has room for, at its end; each takes two words: pid and number. */
export const BEGUN_MAX = 256;
const BEGUN_AT = BYTES - 8 * BEGUN_MAX;

/** What a spawner that has ended had not sent. */
export interface Held {
  /** Reports, as frames. */
  readonly reports: Buffer;
  /** Pids of the commands it had begun last, by number; those that have ended may be among them. */
  readonly begun: ReadonlyMap<number, number>;
}

/**
 * Where a spawner keeps reports that it has not sent yet, and what it has begun: a file without a
 * name that it maps into its memory. What is in there outlives it, so that an end that it saw is
 * never lost with it, and what it began never goes on unknown.
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

  /** What is in it, and closes it: its spawner has ended. */
  take(): Held {
    const begun = new Map<number, number>();
    if (!this.#isOpen) return { reports: Buffer.alloc(0), begun };
    this.#isOpen = false;
    const all = Buffer.alloc(BYTES);
    readSync(this.fd, all, 0, BYTES, 0);
    closeSync(this.fd);
    for (let at = BEGUN_AT; at < BYTES; at += 8) {
      const pid = all.readUInt32LE(at);
      if (pid > 0) begun.set(all.readUInt32LE(at + 4), pid);
    }
    return { reports: all.subarray(4, 4 + all.readUInt32LE(0)), begun };
  }
}

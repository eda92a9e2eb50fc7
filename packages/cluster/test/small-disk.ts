import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A file system of a few megabytes (Linux); gone after disposal, whatever is still on it. */
export class SmallDisk {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  /** @returns undefined where none can be mounted: that takes root. */
  static mount(megabytes: number): SmallDisk | undefined {
    const disk = new SmallDisk(mkdtempSync(join(tmpdir(), 'farm-disk-')));
    try {
      disk.#mount(`size=${megabytes}m`);
      return disk;
    } catch {
      rmSync(disk.directory, { recursive: true });
      return undefined;
    }
  }

  grow(megabytes: number): void {
    this.#mount(`remount,size=${megabytes}m`);
  }

  [Symbol.dispose](): void {
    execFileSync('umount', ['-l', this.directory]);
    rmSync(this.directory, { recursive: true });
  }

  #mount(options: string): void {
    const args = ['-t', 'tmpfs', '-o', options, 'farm-test', this.directory];
    execFileSync('mount', args, { stdio: 'ignore' });
  }
}

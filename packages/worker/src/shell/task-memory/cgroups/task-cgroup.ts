import type { CgroupFiles } from './cgroup-files.ts';
import type { CgroupPlace } from './cgroup-place.ts';

/** Names of what the two versions of control groups call differently. */
const NAMES = {
  1: {
    limit: 'memory.limit_in_bytes',
    peak: 'memory.max_usage_in_bytes',
    used: 'memory.usage_in_bytes',
    /** Resident memory of processes, with that of groups below. */
    resident: 'total_rss',
    kills: 'memory.oom_control',
  },
  2: {
    limit: 'memory.max',
    peak: 'memory.peak',
    used: 'memory.current',
    resident: 'anon',
    kills: 'memory.events',
  },
} as const;

/** Above this part of its limit a group of version 1 may have hit it. */
const NEAR_PART = 0.9;

/**
 * A control group with a memory limit. The kernel holds its processes to the limit, with all they
 * start: what does not fit, and cannot be made to by dropping what files have, is killed.
 */
export class TaskCgroup {
  readonly #version: CgroupPlace['version'];
  readonly #directory: string;
  readonly #files: CgroupFiles;
  #limitBytes = Infinity;
  /** Counts of the kernel when the limit that holds now was set. */
  #killsBefore = 0;
  #hitsBefore = 0;

  /** Makes it. @throws the system's error */
  constructor({ version, directory }: CgroupPlace, name: string, files: CgroupFiles) {
    this.#version = version;
    this.#directory = `${directory}/${name}`;
    this.#files = files;
    files.makeDirectory(this.#directory);
  }

  /** Whoever writes 0 into this file is in it from then on. */
  get entry(): string {
    return `${this.#directory}/cgroup.procs`;
  }

  /**
   * Sets how much its processes may take together, swap included; Infinity for no limit.
   *
   * @throws the system's error, EBUSY where they have more already
   */
  limit(bytes: number): void {
    const { limit } = NAMES[this.#version];
    const text = String(Math.ceil(bytes));
    if (this.#version === 2) {
      if (bytes < this.#number('used')) throw Object.assign(new Error('in use'), { code: 'EBUSY' });
      this.#write(limit, bytes === Infinity ? 'max' : text);
      // Not every kernel has these.
      this.#tryWrite('memory.swap.max', '0');
      this.#tryWrite('memory.oom.group', '1');
    } else {
      // Memory with swap is never less than memory alone; a kernel may count no swap.
      this.#tryWrite('memory.memsw.limit_in_bytes', '-1');
      this.#write(limit, bytes === Infinity ? '-1' : text);
      if (bytes !== Infinity) this.#tryWrite('memory.memsw.limit_in_bytes', text);
      this.#tryWrite('memory.max_usage_in_bytes', '0');
    }
    this.#limitBytes = bytes;
    this.#killsBefore = this.#kills();
    this.#hitsBefore = this.#hits();
  }

  /** Puts a process into it. @throws the system's error */
  add(pid: number): void {
    this.#write('cgroup.procs', String(pid));
  }

  /** Whether the kernel has killed in it since its limit was set, for that limit. */
  get wasExceeded(): boolean {
    return this.#kills() > this.#killsBefore && this.#hasHitLimit();
  }

  /** Resident memory of its processes now. */
  get residentBytes(): number {
    return this.#fieldOf('memory.stat', NAMES[this.#version].resident);
  }

  /** The most that was charged to it at once, what files have included; 0 where nobody tells. */
  get chargedBytesMax(): number {
    return this.#number('peak');
  }

  /**
   * The most resident memory its processes can be shown to have had, once they have ended: what is
   * charged still is of files. 0 where what files had was dropped for it: then nobody can tell.
   */
  get endedBytesMax(): number {
    return this.#hasHitLimit() ? 0 : Math.max(0, this.#number('peak') - this.#number('used'));
  }

  /** Kills what is in it, whoever started it and whatever its process group. */
  kill(): void {
    if (this.#version === 2 && this.#tryWrite('cgroup.kill', '1')) return;
    const pids = this.#files.readText(this.entry) ?? '';
    for (const pid of pids.split('\n').filter((text) => text !== '')) {
      try {
        process.kill(Number(pid), 'SIGKILL');
      } catch {
        // It has ended.
      }
    }
  }

  /** Removes it; false where processes are in it. */
  remove(): boolean {
    try {
      this.#files.removeDirectory(this.#directory);
    } catch (error) {
      // SAFE: whatever was thrown, a missing code is undefined.
      const { code } = error as NodeJS.ErrnoException;
      return code !== 'EBUSY';
    }
    return true;
  }

  /** Version 1 counts that not in every kernel. */
  #hasHitLimit(): boolean {
    return this.#version === 1
      ? this.#number('peak') >= this.#limitBytes * NEAR_PART
      : this.#hits() > this.#hitsBefore;
  }

  #hits(): number {
    return this.#version === 1 ? 0 : this.#fieldOf('memory.events', 'max');
  }

  #kills(): number {
    return this.#fieldOf(NAMES[this.#version].kills, 'oom_kill');
  }

  #number(name: 'peak' | 'used'): number {
    const value = Number(this.#read(NAMES[this.#version][name]));
    return Number.isFinite(value) ? value : 0;
  }

  /** A line of a file is a name and a number. */
  #fieldOf(file: string, field: string): number {
    const line = (this.#read(file) ?? '').split('\n').find((text) => text.startsWith(`${field} `));
    return line === undefined ? 0 : Number(line.slice(field.length + 1));
  }

  #read(file: string): string | undefined {
    return this.#files.readText(`${this.#directory}/${file}`);
  }

  #write(file: string, text: string): void {
    this.#files.writeText(`${this.#directory}/${file}`, text);
  }

  #tryWrite(file: string, text: string): boolean {
    try {
      this.#write(file, text);
      return true;
    } catch {
      return false;
    }
  }
}

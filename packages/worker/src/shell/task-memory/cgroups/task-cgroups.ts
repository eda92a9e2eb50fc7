import { readFileSync, readlinkSync } from 'node:fs';

import { CGROUP_FILES, type CgroupFiles } from './cgroup-files.ts';
import { findCgroupPlace, type CgroupPlace } from './cgroup-place.ts';
import { TaskCgroup } from './task-cgroup.ts';

/** How often it is tried to remove those that processes are still in. */
const REMOVE_AGAIN_MS = 1_000;

/** Options of {@link TaskCgroups}. */
export interface TaskCgroupsOptions {
  /** Below which directory they are made. @default the worker's own group */
  readonly directory?: string | undefined;
  /** Told once why there are none. @default nobody */
  readonly unusable?: (why: string) => void;
  /** @default those of this machine */
  readonly files?: CgroupFiles;
}

/**
 * The control groups of tasks that asked for memory, where this worker may make any; that is found
 * out when the first one is wanted. Those that a worker left behind when it died are removed then.
 */
export class TaskCgroups {
  readonly #options: TaskCgroupsOptions;
  readonly #files: CgroupFiles;
  /** Null where there is none, undefined before that is known. */
  #place: CgroupPlace | null | undefined;
  #owner = '';
  #count = 0;
  readonly #ofRuns = new Map<number, TaskCgroup>();
  /** What runs are known to have taken that have ended. */
  readonly #endedBytes = new Map<number, number>();
  readonly #lingering = new Set<TaskCgroup>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: TaskCgroupsOptions = {}) {
    this.#options = options;
    this.#files = options.files ?? CGROUP_FILES;
  }

  /** One with this limit, Infinity for none yet; undefined where there can be none. */
  make(limitBytes: number): TaskCgroup | undefined {
    if (this.#place === undefined) this.#place = this.#find();
    if (this.#place === null) return undefined;
    let made: TaskCgroup | undefined;
    try {
      made = new TaskCgroup(this.#place, `${this.#owner}.${++this.#count}`, this.#files);
      made.limit(limitBytes);
      return made;
    } catch (error) {
      made?.remove();
      this.#place = null;
      this.#options.unusable?.(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  /** A run begins in one that is not its own, until `unshare`. */
  share(run: number, cgroup: TaskCgroup): void {
    this.#ofRuns.set(run, cgroup);
  }

  unshare(run: number): void {
    this.#ofRuns.delete(run);
  }

  /** Makes one for a run alone, which `of` finds until `ended`. */
  begin(run: number, limitBytes: number): TaskCgroup | undefined {
    const made = this.make(limitBytes);
    if (made !== undefined) this.#ofRuns.set(run, made);
    return made;
  }

  /** That of a run; undefined where it has none. */
  of(run: number): TaskCgroup | undefined {
    return this.#ofRuns.get(run);
  }

  /** A run that one was made for is over. */
  ended(run: number): void {
    const cgroup = this.#ofRuns.get(run);
    if (cgroup === undefined) return;
    this.#ofRuns.delete(run);
    this.#endedBytes.set(run, cgroup.endedBytesMax);
    this.remove(cgroup);
  }

  /** The most that a run that is over is known to have taken, for who asks first; else 0. */
  takeEndedBytes(run: number): number {
    const bytes = this.#endedBytes.get(run) ?? 0;
    this.#endedBytes.delete(run);
    return bytes;
  }

  /** Removes it, later where processes are in it: what a command leaves running goes on. */
  remove(cgroup: TaskCgroup): void {
    if (cgroup.remove()) return;
    this.#lingering.add(cgroup);
    this.#timer ??= setInterval(() => this.#removeLingering(), REMOVE_AGAIN_MS).unref();
  }

  /** Removes what can be removed. Idempotent. */
  close(): void {
    this.#ofRuns.clear();
    this.#endedBytes.clear();
    this.#removeLingering();
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #removeLingering(): void {
    for (const cgroup of this.#lingering) if (cgroup.remove()) this.#lingering.delete(cgroup);
    if (this.#lingering.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #find(): CgroupPlace | null {
    const place = findCgroupPlace(this.#files, this.#options.directory);
    if (typeof place === 'string') {
      this.#options.unusable?.(place);
      return null;
    }
    this.#owner = ownerName(process.pid) ?? `farm.0.${process.pid}.0`;
    this.#purge(place.directory);
    return place;
  }

  /** Those of workers that are no more. */
  #purge(directory: string): void {
    const [, namespace] = this.#owner.split('.');
    for (const name of this.#files.list(directory)) {
      const [farm, where, pid] = name.split('.');
      if (farm !== 'farm' || where !== namespace || pid === undefined) continue;
      if (name.startsWith(`${ownerName(Number(pid)) ?? name}.`)) continue;
      try {
        this.#files.removeDirectory(`${directory}/${name}`);
      } catch {
        // What its worker started is about to end.
      }
    }
  }
}

/** Names a process for good: its namespace, number and start; undefined where it is not there. */
function ownerName(pid: number): string | undefined {
  try {
    const namespace = /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0];
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const start = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[22 - 3];
    return `farm.${namespace}.${pid}.${start}`;
  } catch {
    return undefined;
  }
}

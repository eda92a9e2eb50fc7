import type { WorkerState } from '../state.ts';
import { loadOf } from '../workload.ts';

/** Holes are kept until there are this many, and more than there are workers. */
const HOLES_MIN = 64;

/** Workers of one host that has several. */
interface Host {
  /** All that were let in, in order of arrival. */
  readonly workers: Set<WorkerState>;
  /** Those of them with a free slot. */
  readonly idle: Set<WorkerState>;
}

/**
 * Workers with a free slot, in order of arrival; also by the host they are on. A worker knows its
 * place in the line, so that nothing but the worker is looked at when it joins or leaves the line:
 * that is done several times for each run. See `ascending-map.ts` for what is wrong with a `Set`.
 * What the workers are loaded with is beside the line, so that several can be compared without a
 * look at any of them.
 */
export class IdleWorkers {
  /** Null where a worker has left the line. */
  #line: (WorkerState | null)[] = [];
  /** The load of each, see `loadOf`; anything at a hole. */
  #loads: number[] = [];
  /** Before it are holes. */
  #head = 0;
  #size = 0;
  /** Hosts of the workers that were let in; most have but one. */
  readonly #byHost = new Map<string, Host | WorkerState>();

  get size(): number {
    return this.#size;
  }

  /** Hosts of the workers that were let in. */
  get hosts(): number {
    return this.#byHost.size;
  }

  /** A worker may be idle from now on. */
  letIn(worker: WorkerState): void {
    const { host: name } = worker.hello;
    let host = this.#byHost.get(name);
    if (host === undefined || host === worker) {
      this.#byHost.set(name, worker);
      return;
    }
    if (!('workers' in host)) {
      const first = host;
      this.#byHost.set(name, (host = { workers: new Set(), idle: new Set() }));
      this.#house(host, first);
    }
    this.#house(host, worker);
  }

  /** A worker is never idle from now on. */
  shutOut(worker: WorkerState): void {
    const { host: name } = worker.hello;
    this.delete(worker);
    worker.idleOnHost = null;
    const host = this.#byHost.get(name);
    if (host === worker) this.#byHost.delete(name);
    if (host === undefined || !('workers' in host)) return;
    host.workers.delete(worker);
    if (host.workers.size !== 1) return;
    for (const last of host.workers) {
      last.idleOnHost = null;
      this.#byHost.set(name, last);
    }
  }

  has(worker: WorkerState): boolean {
    return worker.idleAt >= 0;
  }

  /** Those of them that are on a host. */
  on(name: string): Iterable<WorkerState> {
    const host = this.#byHost.get(name);
    if (host === undefined) return [];
    if ('workers' in host) return host.idle;
    return this.has(host) ? [host] : [];
  }

  /** Puts a worker that was let in at the end of the line, unless it is in it. */
  add(worker: WorkerState): void {
    if (worker.idleAt >= 0) return;
    worker.idleAt = this.#line.length;
    this.#line.push(worker);
    this.#loads.push(loadOf(worker));
    this.#size += 1;
    worker.idleOnHost?.add(worker);
  }

  /** Takes a worker out of the line. Tells whether it was in it. */
  delete(worker: WorkerState): boolean {
    const line = this.#line;
    if (worker.idleAt < 0) return false;
    line[worker.idleAt] = null;
    worker.idleAt = -1;
    worker.idleOnHost?.delete(worker);
    this.#size -= 1;
    const holes = line.length - this.#size;
    if (this.#size === 0) {
      line.length = 0;
      this.#loads.length = 0;
      this.#head = 0;
    } else if (holes > HOLES_MIN && holes > this.#size) {
      this.#compact();
    } else {
      while (line[this.#head] === null) this.#head += 1;
    }
    return true;
  }

  /** What a worker is loaded with has changed. */
  noteLoad(worker: WorkerState): void {
    if (worker.idleAt >= 0) this.#loads[worker.idleAt] = loadOf(worker);
  }

  /** The first place at or after one in the line that a worker is at; -1 where there is none. */
  placeFrom(place: number): number {
    const line = this.#line;
    for (let at = Math.max(place, this.#head); at < line.length; at++) {
      if (line[at] !== null) return at;
    }
    return -1;
  }

  /** The worker at a place in the line. */
  at(place: number): WorkerState | null {
    return this.#line[place] ?? null;
  }

  /** What the worker at a place in the line is loaded with. */
  loadAt(place: number): number {
    return this.#loads[place] ?? 0;
  }

  *[Symbol.iterator](): Iterator<WorkerState> {
    for (const worker of this.#line) if (worker !== null) yield worker;
  }

  #house(host: Host, worker: WorkerState): void {
    host.workers.add(worker);
    worker.idleOnHost = host.idle;
    if (this.has(worker)) host.idle.add(worker);
  }

  #compact(): void {
    const line: WorkerState[] = [];
    const loads: number[] = [];
    for (const worker of this.#line) {
      if (worker === null) continue;
      loads.push(this.loadAt(worker.idleAt));
      worker.idleAt = line.length;
      line.push(worker);
    }
    this.#line = line;
    this.#loads = loads;
    this.#head = 0;
  }
}

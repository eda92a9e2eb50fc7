import { acquireFailed, invariant, type Acquire, type RunDependency } from '@farm/protocol/core';

import type { Outbox, ToInstructions } from './outbox.ts';
import type { WorkerRun } from './run.ts';

/** Smaller values are never spilled: a file would cost more than it saves. */
export const SPILL_BYTES_MIN = 16_384;

/**
 * An input of this size that was fetched for one run alone moves into its slot and is gone from the
 * store: to copy it would take as much memory again, and hold up the worker for as long.
 */
export const MOVED_BYTES_MIN = 16_777_216;

/** A result or input that is in the store, or on its way there. */
export interface StoredData {
  readonly task: number;
  sizeBytes: number;
  /** Who had it when it was last asked for. */
  holders: readonly string[];
  /**
   * `stored`: in memory. `spilled`: only in a file. `lost`: could not be had; gone as soon as the
   * runs that waited for it are given up.
   */
  state: 'fetching' | 'stored' | 'spilled' | 'lost';
  /** Whether a file has its bytes, too: it need not be written again. */
  file: 'none' | 'writing' | 'written';
  /** Number of the write or load that is going on; reports of others are late. 0 for none. */
  transfer: number;
  /**
   * The scheduler counts this worker among the holders, and will say when to drop it. What it does
   * not know of (values that came with a run, freed ones) is dropped with the last run using it.
   */
  isKnown: boolean;
  /** The scheduler asked for a copy here, and has not been told how that ended. */
  isAcquired: boolean;
  /** How often unfinished runs name it as an input. */
  uses: number;
  /** Runs that cannot start before it is there; null where there are none, as once stored. */
  waiting: Set<WorkerRun> | null;
}

/** Which data this worker has, gets and needs. The bytes themselves are the shell's. */
export class DataTable {
  readonly #data = new Map<number, StoredData>();
  readonly #out: ToInstructions;
  readonly #outbox: Outbox;
  /** Own address, which is never fetched from. */
  readonly #address: string | null;
  readonly #dropped = new Set<number>();
  /** Values in memory that are worth a file, the least recently used first. */
  readonly #resident = new Set<StoredData>();
  /** Runs that wait for a value that is only in a file, or did, in the order they came. */
  readonly #hungry = new Set<WorkerRun>();
  /** Large inputs that one run needs, and the scheduler does not know to be here. */
  readonly #movable = new Set<StoredData>();
  #memoryBytes = 0;
  #givenUpBytes = 0;
  #spilledBytes = 0;

  constructor(address: string | null, out: ToInstructions, outbox: Outbox) {
    this.#address = address;
    this.#out = out;
    this.#outbox = outbox;
  }

  get size(): number {
    return this.#data.size;
  }

  /** Bytes of all values in memory. */
  get memoryBytes(): number {
    return this.#memoryBytes;
  }

  /** Bytes of all values that have left the memory so far. */
  get givenUpBytes(): number {
    return this.#givenUpBytes;
  }

  /** Bytes of all values that are only in files. */
  get spilledBytes(): number {
    return this.#spilledBytes;
  }

  /** Values in memory that may be spilled, the least recently used first. */
  get resident(): ReadonlySet<StoredData> {
    return this.#resident;
  }

  /** Runs that wait for a spilled value. */
  get hungry(): ReadonlySet<WorkerRun> {
    return this.#hungry;
  }

  /** Large inputs that are there for one run alone. */
  get movable(): ReadonlySet<StoredData> {
    return this.#movable;
  }

  get(task: number): StoredData | undefined {
    return this.#data.get(task);
  }

  values(): Iterable<StoredData> {
    return this.#data.values();
  }

  /**
   * A new run needs an input: protects it, and fetches it unless it is there, on its way, or came
   * with the message. Runs for which the value had been on its way are returned: they have it now.
   */
  require(run: WorkerRun, input: RunDependency): readonly WorkerRun[] {
    let data = this.#data.get(input.task);
    if (data === undefined) {
      data = this.#add(input.task, input.size);
      // What is dropped must be gone before it is put there anew.
      this.flush(this.#out);
      if (input.value === null) {
        data.holders = input.holders.filter((holder) => holder !== this.#address);
        const { task, size } = input;
        const { holders } = data;
        this.#out.push({ do: 'fetch', fn: run.fn.fn, task, sizeBytes: size, holders });
      }
    }
    data.uses += 1;
    if (data.state === 'stored') {
      this.#touch(data);
      // Others may want it, too: it is worth keeping.
      if (this.#movable.delete(data)) {
        data.isKnown = true;
        this.#outbox.holding(data.task);
      }
      return [];
    }
    if (data.state === 'lost' && input.value === null) this.#fetchAgain(data, input.holders);
    if (data.state === 'spilled') {
      this.#hunger(data, run);
      return [];
    }
    if (input.value !== null) {
      this.#out.push({ do: 'keep', task: input.task, value: input.value });
      if (data.isAcquired) this.#announce(data);
      return this.#arrive(data, input.value.byteLength);
    }
    wait(data, run);
    return [];
  }

  /**
   * A run that had all its inputs needs them again: it waits for those that were spilled in the
   * meantime.
   */
  requireAgain(run: WorkerRun): void {
    for (const task of new Set(run.inputs)) {
      const data = this.#data.get(task);
      if (data?.state === 'spilled') this.#hunger(data, run);
      if (data === undefined || (data.state !== 'lost' && data.state !== 'fetching')) continue;
      if (data.state === 'lost') this.#fetchAgain(data, data.holders);
      wait(data, run);
    }
  }

  /** A file has the value: its bytes leave the memory. Runs that need it (again) wait for it. */
  evict(data: StoredData, needers: Iterable<WorkerRun>): void {
    invariant(data.state === 'stored' && data.file === 'written', `${data.task} is evicted`);
    this.#leave(data);
    data.state = 'spilled';
    this.#spilledBytes += data.sizeBytes;
    for (const run of needers) this.#hunger(data, run);
    this.#out.push({ do: 'evict', task: data.task });
  }

  /** A spilled value is in memory again. Runs that waited for it are returned. */
  loaded(data: StoredData): readonly WorkerRun[] {
    data.transfer = 0;
    return this.#arrive(data, data.sizeBytes);
  }

  /**
   * The file of a spilled value is gone or damaged, so the value is. The scheduler is told, and the
   * runs that waited for it are returned.
   */
  lose(data: StoredData): readonly WorkerRun[] {
    if (data.state !== 'spilled') return [];
    this.#leave(data);
    data.state = 'lost';
    data.file = 'none';
    data.transfer = 0;
    if (data.isKnown) this.#outbox.lost(data.task);
    data.isKnown = false;
    // What is left of the file goes, too.
    this.#dropped.add(data.task);
    this.#dropUnused(data);
    return [...(data.waiting ?? [])];
  }

  /** The scheduler wants a copy kept here, whether a run needs it or not. */
  acquire({ task, size, holders }: Acquire): void {
    let data = this.#data.get(task);
    if (data?.state === 'stored' || data?.state === 'spilled') {
      data.isKnown = true;
      this.#movable.delete(data);
      this.#outbox.holding(task);
      return;
    }
    if (data === undefined) {
      data = this.#add(task, size);
      this.flush(this.#out);
      const others = holders.filter((holder) => holder !== this.#address);
      this.#out.push({ do: 'fetch', fn: null, task, sizeBytes: size, holders: others });
    }
    if (data.state === 'lost') this.#fetchAgain(data, holders);
    data.isAcquired = true;
  }

  /** The scheduler hands a value over to be kept. Runs that waited for it are returned. */
  put(task: number, value: Uint8Array): readonly WorkerRun[] {
    const data = this.#data.get(task) ?? this.#add(task, value.byteLength);
    this.#outbox.holding(task);
    data.isKnown = true;
    data.isAcquired = false;
    this.#movable.delete(data);
    if (data.state === 'stored' || data.state === 'spilled') return [];
    // What is dropped must be gone before it is put there anew.
    this.flush(this.#out);
    this.#out.push({ do: 'keep', task, value });
    return this.#arrive(data, value.byteLength);
  }

  /**
   * A run goes into a slot: the inputs that are there for it alone go with it. Should it come back
   * unstarted, they are fetched again.
   */
  moveInto(run: WorkerRun): readonly number[] {
    return run.inputs.filter((task) => {
      const data = this.#data.get(task);
      if (data === undefined || !this.#movable.has(data) || data.state !== 'stored') return false;
      this.#leave(data);
      renew(data);
      data.state = 'lost';
      return true;
    });
  }

  /** A run is over: its inputs are no longer protected by it. */
  release(run: WorkerRun): void {
    this.#hungry.delete(run);
    for (const task of run.inputs) {
      const data = this.#data.get(task);
      invariant(data !== undefined && data.uses > 0, `run ${run.run} used task ${task}`);
      data.uses -= 1;
      data.waiting?.delete(run);
      this.#dropUnused(data);
    }
  }

  /** A run of this worker made the result. Runs that waited for it are returned. */
  add(task: number, sizeBytes: number): readonly WorkerRun[] {
    const data = this.#data.get(task) ?? this.#add(task, sizeBytes);
    // The shell has stored it already: what was dropped under its number is overwritten.
    this.#dropped.delete(task);
    renew(data);
    data.isKnown = true;
    if (data.isAcquired) this.#announce(data);
    return this.#arrive(data, sizeBytes);
  }

  /** An input arrived. Runs that now have all they waited for are returned. */
  fetched(task: number, sizeBytes: number): readonly WorkerRun[] {
    const data = this.#data.get(task);
    if (data === undefined) {
      // It was given up while on its way.
      this.#dropped.add(task);
      return [];
    }
    // The shell has stored it, in memory and in place of what was there.
    renew(data);
    if (data.state === 'stored') return [];
    // What was made here meanwhile, and spilled, is the scheduler's to give up.
    const isWanted = data.isKnown || data.isAcquired;
    const isForOne = data.uses === 1 && !isWanted && sizeBytes >= MOVED_BYTES_MIN;
    if ((data.uses > 0 && !isForOne) || data.isAcquired) this.#announce(data);
    const ready = this.#arrive(data, sizeBytes);
    if (isForOne) this.#movable.add(data);
    this.#dropUnused(data);
    return ready;
  }

  /** An input is nowhere to be had. The runs that waited for it are returned. */
  failed(task: number, holders: readonly string[]): readonly WorkerRun[] {
    const data = this.#data.get(task);
    if (data === undefined || data.state !== 'fetching') return [];
    data.state = 'lost';
    if (data.isAcquired) {
      data.isAcquired = false;
      this.#outbox.message(acquireFailed(task, holders));
    }
    this.#dropUnused(data);
    return [...(data.waiting ?? [])];
  }

  /** The scheduler wants these no longer kept. */
  free(tasks: readonly number[]): void {
    for (const task of tasks) {
      const data = this.#data.get(task);
      if (data === undefined || data.state === 'fetching') continue;
      data.isKnown = false;
      this.#dropUnused(data);
    }
  }

  /** Writes one instruction for all that was dropped since the last call. */
  flush(to: ToInstructions): void {
    if (this.#dropped.size === 0) return;
    to.push({ do: 'drop', tasks: [...this.#dropped] });
    this.#dropped.clear();
  }

  #add(task: number, sizeBytes: number): StoredData {
    const data: StoredData = {
      task,
      sizeBytes,
      holders: [],
      state: 'fetching',
      file: 'none',
      transfer: 0,
      isKnown: false,
      isAcquired: false,
      uses: 0,
      waiting: null,
    };
    this.#data.set(task, data);
    return data;
  }

  /** The scheduler is told that a copy is here, and says when to drop it. */
  #announce(data: StoredData): void {
    data.isKnown = true;
    data.isAcquired = false;
    this.#outbox.holding(data.task);
  }

  /** What is on its way stays until it arrives, since a fetch cannot be recalled. */
  #dropUnused(data: StoredData): void {
    if (data.uses > 0 || data.isKnown || data.state === 'fetching') return;
    this.#data.delete(data.task);
    if (data.state === 'lost') return;
    this.#leave(data);
    this.#dropped.add(data.task);
  }

  /** It is in memory now. Runs that lack nothing any more are returned. */
  #arrive(data: StoredData, sizeBytes: number): readonly WorkerRun[] {
    this.#leave(data);
    data.state = 'stored';
    data.sizeBytes = sizeBytes;
    this.#memoryBytes += sizeBytes;
    if (sizeBytes >= SPILL_BYTES_MIN) this.#resident.add(data);
    const { waiting } = data;
    if (waiting === null) return [];
    data.waiting = null;
    const ready: WorkerRun[] = [];
    for (const run of waiting) {
      run.missing -= 1;
      if (run.missing > 0) continue;
      this.#hungry.delete(run);
      ready.push(run);
    }
    return ready;
  }

  /** It was lost here, though runs that have its bytes already still count as using it. */
  #fetchAgain(data: StoredData, holders: readonly string[]): void {
    data.state = 'fetching';
    this.flush(this.#out);
    const { task, sizeBytes } = data;
    data.holders = holders.filter((holder) => holder !== this.#address);
    this.#out.push({ do: 'fetch', fn: null, task, sizeBytes, holders: data.holders });
  }

  /** It is the most recently used now. */
  #touch(data: StoredData): void {
    if (this.#resident.delete(data)) this.#resident.add(data);
  }

  /** It is no longer where it is. */
  #leave(data: StoredData): void {
    this.#resident.delete(data);
    this.#movable.delete(data);
    if (data.state === 'stored') {
      this.#memoryBytes -= data.sizeBytes;
      this.#givenUpBytes += data.sizeBytes;
    }
    if (data.state === 'spilled') this.#spilledBytes -= data.sizeBytes;
  }

  #hunger(data: StoredData, run: WorkerRun): void {
    wait(data, run);
    this.#hungry.add(run);
  }
}

/** Its bytes are new: a file that has them, or is about to, is not theirs. */
function renew(data: StoredData): void {
  data.file = 'none';
  data.transfer = 0;
}

function wait(data: StoredData, run: WorkerRun): void {
  data.waiting ??= new Set();
  if (data.waiting.has(run)) return;
  data.waiting.add(run);
  run.missing += 1;
}

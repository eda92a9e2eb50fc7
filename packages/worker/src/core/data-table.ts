import { acquireFailed, invariant, type Acquire, type RunDependency } from '@farm/protocol/core';

import type { Outbox, ToInstructions } from './outbox.ts';
import type { WorkerRun } from './run.ts';

/** A result or input that is in the store, or on its way there. */
export interface StoredData {
  readonly task: number;
  sizeBytes: number;
  /** `lost`: could not be had; gone as soon as the runs that waited for it are given up. */
  state: 'fetching' | 'stored' | 'lost';
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

  constructor(address: string | null, out: ToInstructions, outbox: Outbox) {
    this.#address = address;
    this.#out = out;
    this.#outbox = outbox;
  }

  get size(): number {
    return this.#data.size;
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
        const holders = input.holders.filter((holder) => holder !== this.#address);
        const { task, size } = input;
        this.#out.push({ do: 'fetch', task, sizeBytes: size, holders });
      }
    }
    data.uses += 1;
    if (data.state === 'stored') return [];
    if (input.value !== null) {
      this.#out.push({ do: 'keep', task: input.task, value: input.value });
      data.sizeBytes = input.value.byteLength;
      if (data.isAcquired) this.#announce(data);
      return arrive(data);
    }
    data.waiting ??= new Set();
    if (!data.waiting.has(run)) {
      data.waiting.add(run);
      run.missing += 1;
    }
    return [];
  }

  /** The scheduler wants a copy kept here, whether a run needs it or not. */
  acquire({ task, size, holders }: Acquire): void {
    let data = this.#data.get(task);
    if (data?.state === 'stored') {
      data.isKnown = true;
      this.#outbox.holding(task);
      return;
    }
    if (data === undefined) {
      data = this.#add(task, size);
      this.flush(this.#out);
      const others = holders.filter((holder) => holder !== this.#address);
      this.#out.push({ do: 'fetch', task, sizeBytes: size, holders: others });
    }
    data.isAcquired = true;
  }

  /** The scheduler hands a value over to be kept. Runs that waited for it are returned. */
  put(task: number, value: Uint8Array): readonly WorkerRun[] {
    const data = this.#data.get(task) ?? this.#add(task, value.byteLength);
    this.#outbox.holding(task);
    data.isKnown = true;
    data.isAcquired = false;
    if (data.state === 'stored') return [];
    // What is dropped must be gone before it is put there anew.
    this.flush(this.#out);
    this.#out.push({ do: 'keep', task, value });
    data.sizeBytes = value.byteLength;
    return arrive(data);
  }

  /** A run is over: its inputs are no longer protected by it. */
  release(run: WorkerRun): void {
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
    data.sizeBytes = sizeBytes;
    data.isKnown = true;
    if (data.isAcquired) this.#announce(data);
    return arrive(data);
  }

  /** An input arrived. Runs that now have all they waited for are returned. */
  fetched(task: number, sizeBytes: number): readonly WorkerRun[] {
    const data = this.#data.get(task);
    if (data === undefined) {
      // It was given up while on its way.
      this.#dropped.add(task);
      return [];
    }
    if (data.state === 'stored') return [];
    data.sizeBytes = sizeBytes;
    if (data.uses > 0 || data.isAcquired) this.#announce(data);
    const ready = arrive(data);
    this.#dropUnused(data);
    return ready;
  }

  /** An input is nowhere to be had. The runs that waited for it are returned. */
  failed(task: number, holders: readonly string[]): readonly WorkerRun[] {
    const data = this.#data.get(task);
    if (data === undefined || data.state === 'stored') return [];
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
      if (data === undefined || data.state !== 'stored') continue;
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
      state: 'fetching',
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
    if (data.state === 'stored') this.#dropped.add(data.task);
  }
}

function arrive(data: StoredData): readonly WorkerRun[] {
  data.state = 'stored';
  const { waiting } = data;
  if (waiting === null) return [];
  data.waiting = null;
  const ready: WorkerRun[] = [];
  for (const run of waiting) {
    run.missing -= 1;
    if (run.missing === 0) ready.push(run);
  }
  return ready;
}

import type { DataTable, StoredData } from './data-table.ts';
import type { MemoryPolicy } from './memory-policy.ts';
import type { ToInstructions } from './outbox.ts';
import type { WorkerRun } from './run.ts';

/** What an {@link InputLoader} works on. */
export interface InputLoaderParts {
  readonly policy: MemoryPolicy | null;
  readonly data: DataTable;
  readonly out: ToInstructions;
  /** Numbers reads and writes. */
  readonly nextTransfer: () => number;
}

/**
 * Brings spilled inputs back into memory, for one run after the other, so that runs do not push each
 * other's inputs out. One value is read at a time.
 */
export class InputLoader {
  readonly #parts: InputLoaderParts;
  /** The run that values are loaded for: they are not spilled again before it has them. */
  #fed: WorkerRun | null = null;
  #reading: StoredData | null = null;

  constructor(parts: InputLoaderParts) {
    this.#parts = parts;
  }

  /** Whether the value is an input of the run that values are loaded for. */
  isFed({ task }: StoredData): boolean {
    return this.#fed !== null && this.#fed.inputs.includes(task);
  }

  /** A read is over, in whatever way. */
  ended(transfer: number): void {
    if (this.#reading?.transfer === transfer) this.#reading = null;
  }

  /** Values are loaded for nobody any more whose inputs were all there. */
  endFed(): void {
    if (this.#fed === null || this.#fed.state === 'waiting' || this.#fed.state === 'ready') return;
    this.#fed = null;
  }

  /** Loads what the first run lacks that lacks nothing else, where there is room or nothing else to do. */
  load(isBusy: boolean): void {
    const { data, out, nextTransfer } = this.#parts;
    if (this.#reading !== null) {
      if (data.get(this.#reading.task) === this.#reading && this.#reading.transfer !== 0) return;
      this.#reading = null;
    }
    const run = this.#fed?.state === 'waiting' ? this.#fed : this.#nextToFeed(isBusy);
    if (run === null) return;
    this.#fed = run;
    for (const task of run.inputs) {
      const input = data.get(task);
      if (input?.state !== 'spilled') continue;
      input.transfer = nextTransfer();
      this.#reading = input;
      out.push({ do: 'load', task, transfer: input.transfer });
      return;
    }
  }

  #nextToFeed(isBusy: boolean): WorkerRun | null {
    const { data, policy } = this.#parts;
    if (policy === null || this.#fed !== null) return null;
    for (const run of data.hungry) {
      let bytes = 0;
      let isFetching = false;
      for (const task of new Set(run.inputs)) {
        const input = data.get(task);
        if (input?.state === 'spilled') bytes += input.sizeBytes;
        else if (input?.state !== 'stored') isFetching = true;
      }
      if (isFetching) continue;
      // Where nothing else runs, it gets its inputs whatever they take.
      return isBusy && data.memoryBytes + bytes > policy.targetBytes ? null : run;
    }
    return null;
  }
}

import { Store } from '../packages/worker/src/shell/data/store.ts';

/** Values below it are never spilled, see `SPILL_BYTES_MIN` of the worker's core. */
export const SPILLABLE_BYTES = 16_384;

/** What becomes of a spilled value that is to be read. */
export type Reading = 'read' | 'lost' | 'dropped';

/**
 * The production store with files that are modelled: a file can be written, read and damaged in
 * virtual time. The bytes of an evicted value are there for nobody but who reads its file.
 */
export class SimulatedStore extends Store {
  /** Whether the file of a value is whole, by task. */
  readonly #files = new Map<number, boolean>();
  readonly #evicted = new Set<number>();
  #isReadingFiles = false;
  /** Bytes in memory of values that could be spilled. */
  #spillableBytes = 0;

  get spillableBytes(): number {
    return this.#spillableBytes;
  }

  override set(task: number, value: Uint8Array): void {
    super.set(task, value);
    this.#count(value.byteLength);
  }

  override get(task: number): Uint8Array | undefined {
    return this.#evicted.has(task) && !this.#isReadingFiles ? undefined : super.get(task);
  }

  override drop(tasks: readonly number[]): number {
    for (const task of tasks) {
      this.#count(-(this.get(task)?.byteLength ?? 0));
      this.#files.delete(task);
      this.#evicted.delete(task);
    }
    return super.drop(tasks);
  }

  override evict(task: number): void {
    if (!this.#files.has(task)) return;
    this.#count(-(this.get(task)?.byteLength ?? 0));
    this.#evicted.add(task);
  }

  hasFile(task: number): boolean {
    return this.#files.has(task);
  }

  /** A file is complete. Returns whether it is still of the value that is held. */
  written(task: number, value: Uint8Array): boolean {
    const isSame = this.get(task) === value;
    if (isSame) this.#files.set(task, true);
    return isSame;
  }

  /** An evicted value is in memory again, unless its file is damaged. */
  reload(task: number): Reading {
    if (!this.#evicted.has(task)) return super.get(task) === undefined ? 'dropped' : 'read';
    if (this.#files.get(task) !== true) return 'lost';
    this.#evicted.delete(task);
    this.#count(this.get(task)?.byteLength ?? 0);
    return 'read';
  }

  /** How the bytes of a value are to be had by who asks for them from outside. */
  where(task: number): 'memory' | 'file' | 'damaged file' {
    if (!this.#evicted.has(task)) return 'memory';
    return this.#files.get(task) === true ? 'file' : 'damaged file';
  }

  /** Does something for which the files are as good as memory. */
  withFiles(action: () => void): void {
    this.#isReadingFiles = true;
    action();
    this.#isReadingFiles = false;
  }

  /** All files are of no use any more. */
  damageFiles(): void {
    for (const task of this.#files.keys()) this.#files.set(task, false);
  }

  #count(bytes: number): void {
    if (Math.abs(bytes) >= SPILLABLE_BYTES) this.#spillableBytes += bytes;
  }
}

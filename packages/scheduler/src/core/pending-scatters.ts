import type { TaskState, WorkerState } from './state.ts';

/** A value that no worker holds yet. */
export interface PendingScatter {
  readonly task: TaskState;
  readonly value: Uint8Array;
  readonly workers: readonly string[];
  readonly copies: number;
  /** When it is given up if no worker can take it. */
  readonly deadlineMs: number;
  readonly waitsMs: number;
  /** The worker it was sent to; null while there is none. */
  target: WorkerState | null;
}

/** Values on their way from clients to a first worker, and how many bytes they are. */
export class PendingScatters {
  readonly #byTask = new Map<number, PendingScatter>();
  #unplaced: PendingScatter[] = [];
  #bytes = 0;

  /** How many there are. */
  get size(): number {
    return this.#byTask.size;
  }

  /** Bytes of all of them. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Whether some have no worker. */
  get isWaiting(): boolean {
    return this.#unplaced.length > 0;
  }

  get(task: TaskState): PendingScatter | undefined {
    return this.#byTask.get(task.number);
  }

  /** Whether some are on their way to a worker. */
  areBoundFor(worker: WorkerState): boolean {
    for (const { target } of this.#byTask.values()) if (target === worker) return true;
    return false;
  }

  values(): Iterable<PendingScatter> {
    return this.#byTask.values();
  }

  /** A new one, which has no worker. */
  add(pending: PendingScatter): void {
    this.#byTask.set(pending.task.number, pending);
    this.#bytes += pending.value.byteLength;
    this.#unplaced.push(pending);
  }

  /** It has arrived, or is given up. */
  remove(task: TaskState): void {
    const pending = this.#byTask.get(task.number);
    if (pending === undefined) return;
    this.#byTask.delete(task.number);
    this.#bytes -= pending.value.byteLength;
  }

  /** It needs a worker (again). */
  displace(pending: PendingScatter): void {
    pending.target = null;
    this.#unplaced.push(pending);
  }

  /** Takes out those without a worker, in the order they came. */
  takeUnplaced(): PendingScatter[] {
    const unplaced = this.#unplaced.filter((pending) => this.get(pending.task) === pending);
    this.#unplaced = [];
    return unplaced;
  }
}

import type { WorkerState } from '../state.ts';

/**
 * Workers that changed, each once. A worker knows whether it is among them, and the list is emptied
 * in place, once for each batch of events: a `Set` makes itself a new table each time.
 */
export class DirtyWorkers {
  readonly #workers: WorkerState[] = [];

  add(worker: WorkerState): void {
    if (worker.isDirty) return;
    worker.isDirty = true;
    this.#workers.push(worker);
  }

  delete(worker: WorkerState): void {
    if (!worker.isDirty) return;
    worker.isDirty = false;
    this.#workers.splice(this.#workers.indexOf(worker), 1);
  }

  clear(): void {
    for (const worker of this.#workers) worker.isDirty = false;
    this.#workers.length = 0;
  }

  [Symbol.iterator](): Iterator<WorkerState> {
    return this.#workers.values();
  }
}

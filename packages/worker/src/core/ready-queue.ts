import type { WorkerRun } from './run.ts';

/**
 * Runs that wait for a slot, in the order they became ready. Runs that a slot gave back come
 * first. A run leaves the middle of the queue by its state: who is not `ready` is not in it.
 */
export class ReadyQueue {
  /** Given back; the last one is the next. */
  readonly #front: WorkerRun[] = [];
  #back: WorkerRun[] = [];
  #backHead = 0;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  push(run: WorkerRun): void {
    run.state = 'ready';
    this.#back.push(run);
    this.#size += 1;
  }

  /** Puts runs at the front, the first of them first. */
  pushFront(runs: readonly WorkerRun[]): void {
    for (const run of runs.toReversed()) {
      run.state = 'ready';
      this.#front.push(run);
      this.#size += 1;
    }
  }

  /** The next run, which stays in the queue. */
  peek(): WorkerRun | undefined {
    for (;;) {
      const run = this.#front.at(-1) ?? this.#back[this.#backHead];
      if (run === undefined || run.state === 'ready') return run;
      this.#drop();
    }
  }

  /** Takes out what {@link ReadyQueue.peek} shows. The caller sets its next state. */
  shift(): WorkerRun | undefined {
    const run = this.peek();
    if (run === undefined) return undefined;
    this.#drop();
    this.#size -= 1;
    return run;
  }

  /** Takes out a run wherever it is. */
  remove(run: WorkerRun): void {
    run.state = 'gone';
    this.#size -= 1;
    // What is left behind must not keep arguments alive.
    if (this.#size === 0) this.#clear();
  }

  /** Takes out a run that may come back: nothing of it may stay behind. */
  withdraw(run: WorkerRun): void {
    this.remove(run);
    const isOther = (other: WorkerRun): boolean => other !== run;
    this.#front.splice(0, this.#front.length, ...this.#front.filter(isOther));
    this.#back = this.#back.slice(this.#backHead).filter(isOther);
    this.#backHead = 0;
  }

  /** The runs, in order. For checks: it walks the whole queue. */
  *values(): Iterable<WorkerRun> {
    for (const run of this.#front.toReversed()) if (run.state === 'ready') yield run;
    for (const run of this.#back.slice(this.#backHead)) if (run.state === 'ready') yield run;
  }

  #drop(): void {
    if (this.#front.pop() !== undefined) return;
    this.#backHead += 1;
    if (this.#backHead === this.#back.length) {
      this.#back = [];
      this.#backHead = 0;
    } else if (this.#backHead >= 1_024 && this.#backHead * 2 >= this.#back.length) {
      this.#back = this.#back.slice(this.#backHead);
      this.#backHead = 0;
    }
  }

  #clear(): void {
    this.#front.length = 0;
    this.#back = [];
    this.#backHead = 0;
  }
}

/** What is to happen at a time; may be taken back. */
export interface Timer {
  readonly atMs: number;
  readonly sequence: number;
  /** Null once it has happened or was taken back. */
  action: (() => void) | null;
}

/**
 * Virtual time: a heap of things to do, in total order by time and then by order of request.
 * Nothing happens by itself; {@link Clock.step} does the next thing.
 */
export class Clock {
  #nowMs = 0;
  #sequence = 0;
  readonly #heap: Timer[] = [];

  /** Milliseconds since the beginning. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Things to do, those that were taken back included. */
  get size(): number {
    return this.#heap.length;
  }

  /** Does something at a time, or now where that is past. */
  at(atMs: number, action: () => void): Timer {
    const timer = { atMs: Math.max(atMs, this.#nowMs), sequence: this.#sequence++, action };
    this.#push(timer);
    return timer;
  }

  /** Does something after a while. */
  after(delayMs: number, action: () => void): Timer {
    return this.at(this.#nowMs + delayMs, action);
  }

  /** Takes back what was to happen. */
  cancel(timer: Timer | null): void {
    if (timer !== null) timer.action = null;
  }

  /** Moves on to the next thing and does it. False where there is none. */
  step(): boolean {
    for (;;) {
      const timer = this.#pop();
      if (timer === undefined) return false;
      const { action } = timer;
      if (action === null) continue;
      timer.action = null;
      this.#nowMs = timer.atMs;
      action();
      return true;
    }
  }

  /**
   * Does all that is to happen up to a time, which it is then.
   *
   * @param stepped - Called after each thing; ends it all by throwing.
   */
  runUntil(atMs: number, stepped: () => void = () => undefined): void {
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= atMs; next = this.#heap[0]) {
      if (next.action === null) this.#pop();
      else {
        this.step();
        stepped();
      }
    }
    this.#nowMs = Math.max(this.#nowMs, atMs);
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || comesBefore(parent, timer)) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = timer;
  }

  #pop(): Timer | undefined {
    const heap = this.#heap;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let at = 0;
    for (;;) {
      let below = 2 * at + 1;
      let child = heap[below];
      if (child === undefined) break;
      const right = heap[below + 1];
      if (right !== undefined && comesBefore(right, child)) {
        below += 1;
        child = right;
      }
      if (comesBefore(last, child)) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
    return top;
  }
}

function comesBefore(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence);
}

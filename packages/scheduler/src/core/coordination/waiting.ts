/** A request that is answered later. */
export interface Waiter {
  /** The session that asked; what it waits for is withdrawn when it is gone. */
  readonly holder: string;
  readonly request: number;
  /** When it is given up; Infinity means never. */
  readonly deadlineMs: number;
  /** Why, for an `ERR_TIMEOUT`; null where the answer is a plain false. */
  readonly lateBecause: string | null;
  /** Takes it out of the line it stands in; what stood behind it may move up. */
  leave(): void;
}

/** All requests that wait, by session and with their deadlines. */
export class Waiting {
  readonly #bySession = new Map<string, Set<Waiter>>();
  #earliestMs = Infinity;

  /** No deadline is before this time; Infinity where there is none. */
  get earliestMs(): number {
    return this.#earliestMs;
  }

  /** How many requests of a session wait. */
  count(holder: string): number {
    return this.#bySession.get(holder)?.size ?? 0;
  }

  /** Sessions of which something waits. */
  holders(): Iterable<string> {
    return this.#bySession.keys();
  }

  /** What waits of a session, in order. */
  of(holder: string): Waiter[] {
    return [...(this.#bySession.get(holder) ?? [])];
  }

  add(waiter: Waiter): void {
    const { holder, deadlineMs } = waiter;
    const present = this.#bySession.get(holder);
    if (present === undefined) this.#bySession.set(holder, new Set([waiter]));
    else present.add(waiter);
    this.#earliestMs = Math.min(this.#earliestMs, deadlineMs);
  }

  /** It was answered, or withdrawn. Returns whether it was still waiting. */
  delete(waiter: Waiter): boolean {
    const present = this.#bySession.get(waiter.holder);
    if (present?.delete(waiter) !== true) return false;
    if (present.size === 0) this.#bySession.delete(waiter.holder);
    if (this.#bySession.size === 0) this.#earliestMs = Infinity;
    return true;
  }

  /** Those whose deadline has come; finds the next deadline on the way. */
  overdue(nowMs: number): Waiter[] {
    const due: Waiter[] = [];
    this.#earliestMs = Infinity;
    for (const waiters of this.#bySession.values()) {
      for (const waiter of waiters) {
        if (waiter.deadlineMs <= nowMs) due.push(waiter);
        else this.#earliestMs = Math.min(this.#earliestMs, waiter.deadlineMs);
      }
    }
    return due;
  }
}

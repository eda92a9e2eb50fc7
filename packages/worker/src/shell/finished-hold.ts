import type { WorkerMessage } from '@farm/protocol/core';

/** How long ends may wait for others to leave with. */
const HOLD_MS = 5;
/** A message about so many runs is worth sending at once. */
const FEW_RUNS = 4;

/**
 * Lets what is told of single ended runs leave together, while the worker has more to do: a message
 * costs both sides more than all else about a run of a millisecond. What ends after a silence, and
 * whatever else is to be said, leaves at once and in order.
 */
export class FinishedHold {
  readonly #send: (message: WorkerMessage) => void;
  readonly #held: WorkerMessage[] = [];
  #sentMs = -Infinity;
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (message: WorkerMessage) => void) {
    this.#send = send;
  }

  /** @param isBusy - whether the worker has runs that are ready and have no slot yet */
  send(message: WorkerMessage, isBusy: boolean): void {
    const waitMs = this.#sentMs + HOLD_MS - performance.now();
    if (message.op !== 'finished' || message.runs.length > FEW_RUNS || !isBusy || waitMs <= 0) {
      this.flush();
      this.#send(message);
      return;
    }
    this.#held.push(message);
    this.#timer ??= setTimeout(() => this.flush(), waitMs);
  }

  /** Sends what is held. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#sentMs = performance.now();
    for (const message of this.#held.splice(0)) this.#send(message);
  }
}

import type { SchedulerInfo } from '@farm/protocol';

/** What a {@link StallWatch} needs of its session. */
export interface StallWatchOptions {
  /** Asks the scheduler how things are. */
  readonly ask: () => Promise<SchedulerInfo>;
  /** Gets the line for the user. */
  readonly say: (line: string) => void;
}

/**
 * Tells a user who waits while no task can run why nothing happens: once in each such time. It looks
 * at the second heartbeat, the fourth, the eighth and so on at which somebody waits and no task has
 * ended since.
 */
export class StallWatch {
  readonly #options: StallWatchOptions;
  #beats = 0;
  #hasSaid = false;

  constructor(options: StallWatchOptions) {
    this.#options = options;
  }

  /** A task has ended, or nobody waits any more: all is well. */
  reset(): void {
    this.#beats = 0;
    this.#hasSaid = false;
  }

  /** It is time for a heartbeat, and somebody waits. */
  async beat(): Promise<void> {
    this.#beats += 1;
    const isDue = this.#beats > 1 && Number.isInteger(Math.log2(this.#beats));
    if (this.#hasSaid || !isDue) return;
    let info: SchedulerInfo;
    try {
      info = await this.#options.ask();
    } catch {
      return; // Whoever waits is told why the connection has ended.
    }
    const line = this.#beats === 0 || this.#hasSaid ? null : describeStall(info);
    if (line === null) return;
    this.#hasSaid = true;
    this.#options.say(line);
  }
}

/** Why none of the tasks runs; null where one does, or may. */
function describeStall({ address, tasks, workers }: SchedulerInfo): string | null {
  const count = tasks['no-worker'];
  if (count === 0 || tasks.processing + tasks.queued > 0) return null;
  const waits = count === 1 ? '1 task waits' : `${count} tasks wait`;
  return workers.length === 0
    ? `${waits} for a worker: none is connected to the scheduler at ${address}`
    : `${waits}: no connected worker offers what they need; client.explain(future) says what that is`;
}

import type { SchedulerInfo } from '@farm/protocol';

/** How long somebody waits before the scheduler is asked why. */
const FIRST_LOOK_MS = 3_000;

/** What a {@link StallWatch} needs of its session. */
export interface StallWatchOptions {
  /** Asks the scheduler how things are. */
  readonly ask: () => Promise<SchedulerInfo>;
  /** Gets the line for the user. */
  readonly say: (line: string) => void;
}

/**
 * Tells a user who waits why nothing happens, where no task can run, or where tasks that wait for
 * others keep one from running: once in each such time. It looks when somebody has waited for three
 * seconds in which no task ended, then after six, twelve and so on.
 */
export class StallWatch {
  readonly #options: StallWatchOptions;
  #sinceMs: number | undefined;
  #lookAfterMs = FIRST_LOOK_MS;
  #hasSaid = false;

  constructor(options: StallWatchOptions) {
    this.#options = options;
  }

  /** A task has ended, or nobody waits any more: all is well. */
  reset(): void {
    this.#sinceMs = undefined;
    this.#lookAfterMs = FIRST_LOOK_MS;
    this.#hasSaid = false;
  }

  /** Somebody waits, by a clock that only moves forward. To be called now and then. */
  async beat(nowMs: number): Promise<void> {
    this.#sinceMs ??= nowMs;
    const sinceMs = this.#sinceMs;
    if (this.#hasSaid || nowMs - sinceMs < this.#lookAfterMs) return;
    this.#lookAfterMs *= 2;
    let info: SchedulerInfo;
    try {
      info = await this.#options.ask();
    } catch {
      return; // Whoever waits is told why the connection has ended.
    }
    const line = describeStall(info);
    if (line === null || this.#hasSaid || this.#sinceMs !== sinceMs) return;
    this.#hasSaid = true;
    this.#options.say(line);
  }
}

/** Why none of the tasks runs, or why one will not; null where they do, or may. */
function describeStall({ address, tasks, workers, heldUp }: SchedulerInfo): string | null {
  const [first] = heldUp;
  if (first !== undefined) return first;
  const count = tasks['no-worker'];
  if (count === 0 || tasks.processing + tasks.queued > 0) return null;
  const waits = count === 1 ? '1 task waits' : `${count} tasks wait`;
  return workers.length === 0
    ? `${waits} for a worker: none is connected to the scheduler at ${address}`
    : `${waits}: no connected worker offers what they need; client.explain(future) says what that is`;
}

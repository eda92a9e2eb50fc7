/** How a worker died: by itself, or killed by its nanny since it took too much memory. */
export type DeathCause = 'crash' | 'memory';

/**
 * How many deaths within how long are too many. Deaths by memory are blamed on the tasks that ran,
 * which the scheduler gives up one by one, so they end by themselves unless there is no end of such
 * tasks, or the worker itself does not fit into its limit.
 */
const LIMITS: Readonly<Record<DeathCause, { readonly deaths: number; readonly windowMs: number }>> =
  {
    crash: { deaths: 5, windowMs: 60_000 },
    memory: { deaths: 20, windowMs: 600_000 },
  };

/** Deaths older than this do not lengthen the delay. */
const DELAY_WINDOW_MS = 60_000;
const DELAY_MS_MIN = 100;
const DELAY_MS_MAX = 5_000;

/**
 * Decides whether a worker that died is started again, and when: at once at first, then with
 * growing delays, and not any more after five crashes within a minute or twenty deaths by memory
 * within ten.
 */
export class RestartPolicy {
  #deaths: readonly { readonly cause: DeathCause; readonly atMs: number }[] = [];

  /**
   * @param nowMs - When the worker died.
   * @returns How long to wait before the next start; null where it is given up.
   */
  died(nowMs: number, cause: DeathCause = 'crash'): number | null {
    this.#deaths = [
      ...this.#deaths.filter(({ cause: own, atMs }) => nowMs - atMs < LIMITS[own].windowMs),
      { cause, atMs: nowMs },
    ];
    const ofCause = this.#deaths.filter((death) => death.cause === cause).length;
    if (ofCause >= LIMITS[cause].deaths) return null;
    const recent = this.#deaths.filter(({ atMs }) => nowMs - atMs < DELAY_WINDOW_MS).length;
    return Math.min(DELAY_MS_MAX, DELAY_MS_MIN * 4 ** (recent - 1));
  }
}

const WINDOW_MS = 60_000;
const CRASHES_MAX = 5;
const DELAY_MS_MIN = 100;
const DELAY_MS_MAX = 5_000;

/**
 * Decides whether a worker that died is started again, and when: at once at first, then with
 * growing delays, and not any more after five deaths within a minute.
 */
export class RestartPolicy {
  #crashesMs: readonly number[] = [];

  /**
   * @param nowMs - When the worker died.
   * @returns How long to wait before the next start; null where it is given up.
   */
  died(nowMs: number): number | null {
    this.#crashesMs = [...this.#crashesMs.filter((atMs) => nowMs - atMs < WINDOW_MS), nowMs];
    const crashes = this.#crashesMs.length;
    if (crashes >= CRASHES_MAX) return null;
    return Math.min(DELAY_MS_MAX, DELAY_MS_MIN * 4 ** (crashes - 1));
  }
}

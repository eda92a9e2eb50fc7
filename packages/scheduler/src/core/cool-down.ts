/** A number that rises at once and falls late. */
export class CoolDown {
  /** Numbers that were not followed by a larger one, so in descending order. */
  readonly #peaks: { readonly atMs: number; readonly value: number }[] = [];

  /** Adds a number. Returns the largest of those of the last `windowMs`. */
  add(value: number, nowMs: number, windowMs: number): number {
    const peaks = this.#peaks;
    while ((peaks.at(-1)?.value ?? Infinity) <= value) peaks.pop();
    peaks.push({ atMs: nowMs, value });
    let oldest = 0;
    while (oldest < peaks.length - 1 && (peaks[oldest]?.atMs ?? 0) <= nowMs - windowMs) oldest++;
    peaks.splice(0, oldest);
    return peaks[0]?.value ?? value;
  }
}

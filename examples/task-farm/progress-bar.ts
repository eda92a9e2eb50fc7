/** A progress bar on a terminal; a line now and then anywhere else. */
export class ProgressBar {
  readonly #total: number;
  readonly #stream: NodeJS.WriteStream;
  #shownAtMs = 0;

  constructor(total: number, stream: NodeJS.WriteStream = process.stderr) {
    this.#total = total;
    this.#stream = stream;
  }

  /** Shows how far the work is. Cheap to call after every task. */
  update(done: number, failed: number): void {
    const nowMs = performance.now();
    const intervalMs = this.#stream.isTTY ? 100 : 2_000;
    if (done < this.#total && nowMs - this.#shownAtMs < intervalMs) return;
    this.#shownAtMs = nowMs;
    const share = this.#total === 0 ? 1 : done / this.#total;
    const note = failed === 0 ? '' : `, ${failed} failed`;
    const text = `${Math.floor(share * 100)} % · ${done} of ${this.#total} tasks${note}`;
    if (!this.#stream.isTTY) {
      this.#stream.write(`${text}\n`);
      return;
    }
    const filled = Math.round(share * 30);
    const bar = '█'.repeat(filled) + '░'.repeat(30 - filled);
    this.#stream.write(`\r\u001b[2K${bar} ${text}${done === this.#total ? '\n' : ''}`);
  }
}

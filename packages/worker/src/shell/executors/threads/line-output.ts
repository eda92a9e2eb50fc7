/** Characters of an unfinished line that are kept back. */
const PARTIAL_LENGTH_MAX = 65_536;

type StreamName = 'stdout' | 'stderr';

/** Passes on what a slot writes in whole lines, so that lines of several slots do not mix. */
export class LineOutput {
  readonly #emit: (stream: StreamName, text: string) => void;
  readonly #partial = { stdout: '', stderr: '' };

  constructor(emit: (stream: StreamName, text: string) => void) {
    this.#emit = emit;
  }

  take(stream: StreamName, text: string): void {
    const all = this.#partial[stream] + text;
    const end = all.length > PARTIAL_LENGTH_MAX ? all.length : all.lastIndexOf('\n') + 1;
    this.#partial[stream] = all.slice(end);
    if (end > 0) this.#emit(stream, all.slice(0, end));
  }

  /** Passes on unfinished lines too. */
  flush(): void {
    for (const stream of ['stdout', 'stderr'] as const) {
      const text = this.#partial[stream];
      this.#partial[stream] = '';
      if (text !== '') this.#emit(stream, `${text}\n`);
    }
  }
}

import type { ToInstructions } from './outbox.ts';

/** A function that runs may name, and how long its runs take. */
export interface KnownFunction {
  readonly fn: number;
  /** Moving average of measured durations; null before the first. */
  meanUs: number | null;
  /** The same of the sizes of its results; 0 before the first. */
  meanBytes: number;
  /** Unfinished runs that name it. */
  runs: number;
  /** The scheduler will not name it again: it goes with its last run. */
  isForgotten: boolean;
}

/** Weight of the newest duration in a function's moving average. */
const NEWEST_WEIGHT = 0.25;

/** The functions the scheduler made known, with their durations. */
export class FunctionTable {
  readonly #functions = new Map<number, KnownFunction>();
  readonly #out: ToInstructions;

  constructor(out: ToInstructions) {
    this.#out = out;
  }

  get size(): number {
    return this.#functions.size;
  }

  define(fn: number, name: string, spec: Uint8Array): void {
    const known = this.#functions.get(fn);
    if (known === undefined) {
      this.#functions.set(fn, { fn, meanUs: null, meanBytes: 0, runs: 0, isForgotten: false });
    } else {
      known.isForgotten = false;
    }
    this.#out.push({ do: 'define', fn, name, spec });
  }

  get(fn: number): KnownFunction | undefined {
    return this.#functions.get(fn);
  }

  /** Forgets functions, those that a run still names with their last run. */
  forget(fns: readonly number[]): void {
    const gone = fns.filter((fn) => {
      const known = this.#functions.get(fn);
      if (known === undefined) return false;
      if (known.runs === 0) return this.#functions.delete(fn);
      known.isForgotten = true;
      return false;
    });
    if (gone.length > 0) this.#out.push({ do: 'forget', fns: gone });
  }

  /** A run that named the function is over. */
  release(known: KnownFunction): void {
    known.runs -= 1;
    if (known.runs > 0 || !known.isForgotten) return;
    this.#functions.delete(known.fn);
    this.#out.push({ do: 'forget', fns: [known.fn] });
  }

  values(): Iterable<KnownFunction> {
    return this.#functions.values();
  }
}

/** Takes what a run took and made into its function's moving averages. */
export function recordRun(known: KnownFunction, durationUs: number, sizeBytes: number): void {
  const { meanUs, meanBytes } = known;
  known.meanBytes =
    meanUs === null ? sizeBytes : meanBytes + NEWEST_WEIGHT * (sizeBytes - meanBytes);
  known.meanUs = meanUs === null ? durationUs : meanUs + NEWEST_WEIGHT * (durationUs - meanUs);
}

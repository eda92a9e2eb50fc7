import type { DataTable } from './data-table.ts';
import type { MemorySampled } from './events.ts';
import { mebibytes, type MemoryPolicy } from './memory-policy.ts';
import type { ToInstructions } from './outbox.ts';

/** Above this part of the limit the next result may be the end of the worker. */
const TIGHT_PART = 0.9;
/** Values that leave are in the way of a result where they take more than this part of it. */
const VALUES_PART = 1 / 16;
/** The same for memory that nobody accounts for, some of which comes and goes. */
const OTHER_PART = 1 / 8;
/** The same where the result is likely to have the worker killed otherwise. */
const DEADLY_OTHER_PART = 1 / 32;
/** After so many samples, 10 s, what nobody accounts for is no garbage, and somebody waits long for the rest. */
const SAMPLES_MAX = 50;

/** What a {@link Departing} works on. */
export interface DepartingParts {
  readonly data: DataTable;
  readonly out: ToInstructions;
}

/**
 * Memory that values which were dropped or evicted still take: those that are being sent to somebody
 * stay until they have arrived, others until they are collected. The next large result waits for that
 * where there is no room beside it. Values are waited for as long as it takes, since whoever sends
 * them gives them up in the end; for what else may be garbage only for some samples.
 */
export class Departing {
  readonly #parts: DepartingParts;
  /** Of the last sample. */
  #rssBytes = 0;
  /** Of the last sample: values that were given up and are there. */
  #valueBytes = 0;
  /** What had been given up before the last sample. */
  #givenUpBytes = 0;
  /** The least that has been seen of resident memory beside results. */
  #leastOtherBytes = Infinity;
  /** What the next run waits for, or would. */
  #waitsFor: 'sample' | 'values' | 'garbage' | null = null;
  #valueSamples = 0;
  #garbageSamples = 0;

  constructor(parts: DepartingParts) {
    this.#parts = parts;
  }

  /** Nothing waits any more, as far as is known. */
  goOn(): void {
    this.#waitsFor = null;
  }

  /**
   * Whether the next result has to wait.
   *
   * @param nextBytes - What it is expected to take, or the last one was, where none is ready.
   * @param isBusy - Whether something runs: then what nobody accounts for is likely to be its.
   */
  isInTheWay(policy: MemoryPolicy, nextBytes: number, isBusy: boolean): boolean {
    const { data } = this.#parts;
    const sinceBytes = data.givenUpBytes - this.#givenUpBytes;
    const least = Number.isFinite(this.#leastOtherBytes) ? this.#leastOtherBytes : 0;
    // A sample may be from before the values were there.
    const heldBytes = least + data.memoryBytes + this.#valueBytes + sinceBytes;
    const takenBytes = Math.max(this.#rssBytes, heldBytes);
    if (takenBytes + nextBytes > policy.limitBytes * TIGHT_PART) {
      if (sinceBytes > nextBytes * VALUES_PART) this.#waitsFor = 'sample';
      else if (this.#valueBytes > nextBytes * VALUES_PART) this.#waitsFor = 'values';
      else if (!isBusy && this.#isGarbage(policy, nextBytes)) this.#waitsFor = 'garbage';
    }
    if (this.#waitsFor === null) this.#valueSamples = 0;
    if (this.#waitsFor !== 'garbage') this.#garbageSamples = 0;
    if (this.#garbageSamples < SAMPLES_MAX) return this.#waitsFor !== null;
    // It is none, and this is how much the process takes.
    this.#leastOtherBytes = this.#otherBytes;
    this.#garbageSamples = 0;
    this.goOn();
    return false;
  }

  /**
   * How much memory the process takes now.
   *
   * @returns whether it is to be collected, since something waits for it
   */
  sampled(
    policy: MemoryPolicy,
    { rssBytes, givenUpBytes }: Pick<MemorySampled, 'rssBytes' | 'givenUpBytes'>,
    nextBytes: number,
  ): boolean {
    this.#rssBytes = rssBytes;
    this.#valueBytes = givenUpBytes;
    this.#givenUpBytes = this.#parts.data.givenUpBytes;
    this.#leastOtherBytes = Math.min(this.#leastOtherBytes, this.#otherBytes);
    if (this.#waitsFor === 'garbage') this.#garbageSamples += 1;
    if (this.#waitsFor === 'values') this.#valueSamples += 1;
    if (this.#valueSamples === SAMPLES_MAX) this.#tell();
    if (this.#waitsFor === null) return false;
    return givenUpBytes > 0 || this.#isGarbage(policy, nextBytes);
  }

  get #otherBytes(): number {
    return this.#rssBytes - this.#parts.data.memoryBytes;
  }

  #isGarbage({ terminateBytes }: MemoryPolicy, nextBytes: number): boolean {
    const isDeadly = this.#rssBytes + nextBytes > terminateBytes;
    const part = isDeadly ? DEADLY_OTHER_PART : OTHER_PART;
    return this.#otherBytes - this.#leastOtherBytes >= nextBytes * part;
  }

  #tell(): void {
    const message =
      `${mebibytes(this.#valueBytes)} of values that were given up are still being sent; tasks that ` +
      'make large results wait for that';
    this.#parts.out.push({ do: 'log', level: 'info', message });
  }
}

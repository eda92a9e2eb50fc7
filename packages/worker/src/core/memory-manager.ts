import type { DataTable, StoredData } from './data-table.ts';
import { Departing } from './departing.ts';
import type { MemorySampled, SpillFailed } from './events.ts';
import type { KnownFunction } from './function-table.ts';
import { InputLoader } from './input-loader.ts';
import { mebibytes, type MemoryPolicy } from './memory-policy.ts';
import type { ToInstructions } from './outbox.ts';
import type { ReadyQueue } from './ready-queue.ts';
import type { WorkerRun } from './run.ts';

/** Wait after a file could not be written; doubled with each further failure. */
const SPILL_AGAIN_MS_MIN = 1_000;
const SPILL_AGAIN_MS_MAX = 60_000;
/** Memory is asked to be collected at most this often. */
const COLLECT_MS = 1_000;
/** A result takes its own size in the task that makes it, and again encoded. */
const RESULT_FACTOR = 2;
/** Nobody makes room for results that take less than this part of the limit. */
const SMALL_PART = 1 / 16;

/** What a {@link MemoryManager} works on. */
export interface MemoryManagerParts {
  readonly policy: MemoryPolicy | null;
  readonly data: DataTable;
  readonly ready: ReadyQueue;
  readonly runs: ReadonlyMap<number, WorkerRun>;
  readonly out: ToInstructions;
}

/**
 * Keeps a worker within its memory limit: which values are spilled and loaded when, and whether the
 * worker is paused. Resident memory has hysteresis at both thresholds. One file is written and one
 * read at a time, so that a value that is on its way does not hide how much is still to go.
 */
export class MemoryManager {
  readonly #parts: MemoryManagerParts;
  readonly #loader: InputLoader;
  #rssBytes = 0;
  /** Resident memory was above `spillBytes`, and is not below `enoughBytes` yet. */
  #isSpilling = false;
  /** Resident memory was above `pauseBytes`, and is not below `resumeBytes` yet. */
  #isFull = false;
  /** What the results that are being made, or are next, are expected to take. */
  #reservedBytes = 0;
  /** The next result would not fit, and nothing can be spilled for it. */
  #isStuck = false;
  #writing: StoredData | null = null;
  #nextTransfer = 1;
  /** As `#reservedBytes`, of the run that is next, or was last. */
  #nextBytes = 0;
  readonly #departing: Departing;
  #spillAgainMs = 0;
  #spillFailures = 0;
  #collectAgainMs = 0;
  #hasWarned = false;

  constructor(parts: MemoryManagerParts) {
    this.#parts = parts;
    this.#loader = new InputLoader({ ...parts, nextTransfer: () => this.#nextTransfer++ });
    this.#departing = new Departing(parts);
  }

  /** Whether the worker takes no runs. */
  get isPaused(): boolean {
    return this.#isFull || this.#isStuck;
  }

  /**
   * Whether the next run can begin: not where results that are in the way are about to be spilled.
   *
   * @param next - The function that is ready to run; null where none is.
   * @param busy - The functions that are running.
   */
  makeRoom(next: KnownFunction | null, busy: readonly KnownFunction[], nowMs: number): boolean {
    const { policy, data } = this.#parts;
    if (policy === null) return true;
    this.#reservedBytes = busy.reduce((sum, fn) => sum + RESULT_FACTOR * fn.meanBytes, 0);
    if (next !== null) this.#nextBytes = RESULT_FACTOR * next.meanBytes;
    // What found no room was handed back, and comes again as soon as there is some.
    if (next !== null || this.#isStuck) this.#reservedBytes += this.#nextBytes;
    this.#endStaleWrite();
    this.#lookForRoom(policy);
    this.#departing.goOn();
    if (this.isPaused) return false;
    if (this.#nextBytes < policy.limitBytes * SMALL_PART) return true;
    if (this.#departing.isInTheWay(policy, this.#nextBytes, busy.length > 0)) return false;
    if (data.memoryBytes + this.#reservedBytes <= policy.targetBytes) return true;
    return this.#writing === null && (this.#unused() === null || nowMs < this.#spillAgainMs);
  }

  /** How much memory the process takes now. */
  sampled(sample: MemorySampled): void {
    const { rssBytes, nowMs } = sample;
    const { policy, out } = this.#parts;
    if (policy === null) return;
    this.#rssBytes = rssBytes;
    if (this.#departing.sampled(policy, sample, this.#nextBytes)) {
      this.#collectAgainMs = 0;
      this.#collect(nowMs);
    }
    if (rssBytes > policy.spillBytes) this.#isSpilling = true;
    else if (rssBytes <= policy.enoughBytes) this.#isSpilling = false;
    if (rssBytes > Math.min(policy.spillBytes, policy.pauseBytes)) this.#collect(nowMs);
    const isFull = rssBytes > (this.#isFull ? policy.resumeBytes : policy.pauseBytes);
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    const taken = `${mebibytes(rssBytes)} of ${mebibytes(policy.limitBytes)} are taken`;
    const message = isFull ? `paused: ${taken}` : `resumed: ${taken}`;
    out.push({ do: 'log', level: isFull ? 'warn' : 'info', message });
  }

  /** Whether the disk is full and the memory, too, so that another result would be the end. */
  #lookForRoom(policy: MemoryPolicy): void {
    const { data, out } = this.#parts;
    const isStuck =
      this.#spillFailures > 0 &&
      this.#nextBytes >= policy.limitBytes * SMALL_PART &&
      data.memoryBytes > 0 &&
      data.memoryBytes + Math.max(this.#nextBytes, this.#reservedBytes) > policy.pauseBytes;
    if (isStuck === this.#isStuck) return;
    this.#isStuck = isStuck;
    const message = isStuck
      ? `paused: ${mebibytes(data.memoryBytes)} of results cannot be spilled, and tasks that make ` +
        `results of ${mebibytes(this.#nextBytes / RESULT_FACTOR)} have no room beside them; ` +
        'release results, or free disk space'
      : 'resumed: there is room for results again';
    out.push({ do: 'log', level: isStuck ? 'warn' : 'info', message });
  }

  /** A file has a value. It leaves the memory, unless it was replaced meanwhile. */
  spilled(task: number, transfer: number): void {
    const data = this.#current(task, transfer);
    this.#endWrite(transfer);
    this.#spillFailures = 0;
    if (data === undefined) return;
    data.transfer = 0;
    data.file = 'written';
    if (!this.#loader.isFed(data)) this.#evict(data);
  }

  /** A file could not be written: nothing is tried for a while, and nothing is lost. */
  spillFailed({ task, transfer, reason, nowMs }: SpillFailed): void {
    const data = this.#current(task, transfer);
    this.#endWrite(transfer);
    if (data !== undefined) {
      data.transfer = 0;
      data.file = 'none';
    }
    const waitMs = Math.min(SPILL_AGAIN_MS_MAX, SPILL_AGAIN_MS_MIN * 2 ** this.#spillFailures);
    this.#spillFailures += 1;
    this.#spillAgainMs = nowMs + waitMs;
    const message =
      `could not spill to disk, results stay in memory, trying again in ${waitMs / 1_000} s: ` +
      reason;
    this.#parts.out.push({ do: 'log', level: 'warn', message });
  }

  /** A spilled value is in memory again. Runs that have all they need now are returned. */
  loaded(task: number, transfer: number): readonly WorkerRun[] {
    this.#loader.ended(transfer);
    const data = this.#current(task, transfer);
    return data === undefined ? [] : this.#parts.data.loaded(data);
  }

  /** The file of a spilled value is of no use. The runs that waited for it are returned. */
  lost(task: number, reason: string): readonly WorkerRun[] {
    const data = this.#parts.data.get(task);
    if (data === undefined || data.state !== 'spilled') return [];
    this.#loader.ended(data.transfer);
    const message = `a spilled result is lost: ${reason}`;
    this.#parts.out.push({ do: 'log', level: 'error', message });
    return this.#parts.data.lose(data);
  }

  /** Begins what is to be written and read next. Called whenever anything has happened. */
  balance(nowMs: number, isBusy: boolean): void {
    if (this.#parts.policy === null) return;
    this.#loader.endFed();
    this.#spill(nowMs, isBusy);
    if (!this.isPaused) this.#loader.load(isBusy);
  }

  #spill(nowMs: number, isBusy: boolean): void {
    const { out } = this.#parts;
    this.#endStaleWrite();
    while (this.#writing === null && this.#excessBytes() > 0) {
      const victim = this.#victim();
      if (victim === null) {
        if (!isBusy) this.#warnOnce();
        return;
      }
      if (victim.file === 'written') {
        this.#evict(victim);
        continue;
      }
      if (nowMs < this.#spillAgainMs) return;
      victim.file = 'writing';
      victim.transfer = this.#nextTransfer++;
      this.#writing = victim;
      out.push({ do: 'spill', task: victim.task, transfer: victim.transfer });
    }
  }

  /** Bytes that should not be in memory. */
  #excessBytes(): number {
    const { policy, data } = this.#parts;
    if (policy === null) return 0;
    const { targetBytes, pauseBytes } = policy;
    const managed =
      data.memoryBytes - (this.#isStuck ? Math.min(targetBytes, pauseBytes) : targetBytes);
    // For what is being made only what nothing here waits for has to go.
    const isInTheWay = this.#isLarge(policy) && this.#unused() !== null;
    const room = isInTheWay ? managed + this.#reservedBytes : managed;
    return this.#isSpilling ? Math.max(room, this.#rssBytes - policy.enoughBytes) : room;
  }

  /** The least recently used value, those that no run here is to use first. */
  #victim(): StoredData | null {
    const unused = this.#unused();
    if (unused !== null) return unused;
    for (const data of this.#parts.data.resident) if (!this.#loader.isFed(data)) return data;
    return null;
  }

  /** The least recently used value that no run here is to use. */
  #unused(): StoredData | null {
    for (const data of this.#parts.data.resident) if (data.uses === 0) return data;
    return null;
  }

  /** Whether results are made that are worth making room for. */
  #isLarge({ limitBytes }: MemoryPolicy): boolean {
    return this.#reservedBytes >= limitBytes * SMALL_PART;
  }

  #evict(victim: StoredData): void {
    const { data, runs, ready } = this.#parts;
    const needers: WorkerRun[] = [];
    if (victim.uses > 0) {
      for (const run of runs.values()) {
        if (run.state === 'slotted' || run.state === 'seceded' || !run.inputs.includes(victim.task))
          continue;
        if (run.state === 'ready') {
          ready.withdraw(run);
          run.state = 'waiting';
        }
        needers.push(run);
      }
    }
    data.evict(victim, needers);
    // For what is to be spilled besides. The next sample knows better.
    this.#rssBytes -= victim.sizeBytes;
  }

  #collect(nowMs: number): void {
    if (nowMs < this.#collectAgainMs) return;
    this.#collectAgainMs = nowMs + COLLECT_MS;
    this.#parts.out.push({ do: 'collect' });
  }

  /** Memory that no result takes is not to be had by spilling. */
  #warnOnce(): void {
    const { policy, data, out } = this.#parts;
    if (this.#hasWarned || policy === null || data.memoryBytes > policy.targetBytes) return;
    this.#hasWarned = true;
    const message =
      `${mebibytes(this.#rssBytes)} of ${mebibytes(policy.limitBytes)} memory are taken, only ` +
      `${mebibytes(data.memoryBytes)} of it by results: nothing is left to spill. Do tasks keep ` +
      'something in global variables?';
    out.push({ do: 'log', level: 'warn', message });
  }

  /** The value that a report is about; undefined where it was dropped or replaced. */
  #current(task: number, transfer: number): StoredData | undefined {
    const data = this.#parts.data.get(task);
    return data?.transfer === transfer ? data : undefined;
  }

  /** What was dropped or replaced while it was written is not waited for. */
  #endStaleWrite(): void {
    const { data } = this.#parts;
    const writing = this.#writing;
    if (writing === null) return;
    if (data.get(writing.task) !== writing || writing.file !== 'writing') this.#writing = null;
  }

  #endWrite(transfer: number): void {
    if (this.#writing?.transfer === transfer) this.#writing = null;
  }
}

import { invariant } from '@farm/protocol/core';

import type { SlotRun } from './instructions.ts';
import type { ToInstructions } from './outbox.ts';
import type { ReadyQueue } from './ready-queue.ts';
import type { WorkerRun } from './run.ts';

/** Expected work that one batch gives to a slot. A slot holds up to two: one runs, one waits. */
const BATCH_US = 1_000;
/**
 * So many go together although they take longer, up to what a longer run would wait for: to hear of
 * each alone costs a run of a millisecond a tenth of its time.
 */
const FEW_RUNS = 5;
/** Runs expected to take longer wait for an empty slot, so that they stay free to move. */
const PIPELINED_US_MAX = 5_000;
/** What a run costs a slot besides its own time; floor of every estimate. */
const RUN_OVERHEAD_US = 4;
const BATCH_RUNS_MAX = 256;
/** A slot that said nothing for so long is stuck in a run that takes longer than expected. */
const STUCK_AFTER_MS = 10;

/** One execution slot. */
export interface Slot {
  readonly index: number;
  /** What it was given and has not ended, in order: the first one executes. */
  readonly runs: Set<WorkerRun>;
  /** Sum of what its runs are expected to take. */
  chargedUs: number;
  /** Its run goes alone: nothing is queued behind it. */
  isExclusive: boolean;
  /** A run in another slot that takes this one too. */
  blockedBy: WorkerRun | null;
  /** When it was last given a first run, or an end was last heard of. */
  heardMs: number;
}

/** The slots, and which run goes to which. */
export class Slots {
  readonly #slots: readonly Slot[];

  constructor(count: number) {
    this.#slots = Array.from({ length: count }, (_, index) => ({
      index,
      runs: new Set<WorkerRun>(),
      chargedUs: 0,
      isExclusive: false,
      blockedBy: null,
      heardMs: 0,
    }));
  }

  get count(): number {
    return this.#slots.length;
  }

  all(): readonly Slot[] {
    return this.#slots;
  }

  at(index: number): Slot {
    const slot = this.#slots[index];
    invariant(slot !== undefined, `there is no slot ${index}, only ${this.#slots.length}`);
    return slot;
  }

  /** Runs that execute, as far as is known. */
  executing(): readonly number[] {
    return this.#slots.flatMap((slot) => {
      const [first] = slot.runs;
      return first === undefined ? [] : [first.run];
    });
  }

  /** A run is no longer in its slot: it ended or was given back. */
  leave(run: WorkerRun, nowMs: number): void {
    const slot = this.at(run.slot);
    slot.runs.delete(run);
    slot.chargedUs = slot.runs.size === 0 ? 0 : slot.chargedUs - run.chargedUs;
    slot.heardMs = nowMs;
    if (slot.isExclusive) {
      slot.isExclusive = false;
      for (const other of this.#slots) if (other.blockedBy === run) other.blockedBy = null;
    }
    run.slot = -1;
    run.isWithdrawing = false;
  }

  /**
   * Gives ready runs to slots, in the order of the queue: a head that finds no room holds up those
   * behind it. Short runs of one function go in batches that are shared out evenly.
   */
  fill(ready: ReadyQueue, nowMs: number, out: ToInstructions): void {
    for (;;) {
      const head = ready.peek();
      if (head === undefined) return;
      const isPlaced = goesAlone(head)
        ? this.#placeAlone(head, ready, nowMs, out)
        : this.#placeBatch(head, ready, nowMs, out);
      if (!isPlaced) return;
    }
  }

  /**
   * Runs that wait behind one that takes surprisingly long while another slot is idle, by slot, and
   * whether to look again later.
   */
  stuck(nowMs: number): { readonly slots: readonly Slot[]; readonly lookAgainMs: number | null } {
    const none = { slots: [], lookAgainMs: null };
    if (!this.#slots.some(isIdle)) return none;
    const loaded = this.#slots.filter((slot) => waitingInSlot(slot).length > 0);
    const slots = loaded.filter((slot) => nowMs - slot.heardMs >= STUCK_AFTER_MS);
    return { slots, lookAgainMs: loaded.length > slots.length ? STUCK_AFTER_MS : null };
  }

  #placeAlone(head: WorkerRun, ready: ReadyQueue, nowMs: number, out: ToInstructions): boolean {
    const idle = this.#slots.filter(isIdle);
    const [slot, ...others] = idle;
    if (slot === undefined || idle.length < head.threads) return false;
    ready.shift();
    slot.isExclusive = true;
    for (const other of others.slice(0, head.threads - 1)) other.blockedBy = head;
    enter(slot, head, estimateUs(head) ?? BATCH_US, nowMs);
    out.push({ do: 'execute', slot: slot.index, fn: head.fn.fn, runs: [slotRun(head)] });
    return true;
  }

  #placeBatch(head: WorkerRun, ready: ReadyQueue, nowMs: number, out: ToInstructions): boolean {
    const open = this.#slots.filter((slot) => isOpen(slot, nowMs));
    const [first] = open;
    if (first === undefined) return false;
    const slot = open.reduce((least, other) => (other.chargedUs < least.chargedUs ? other : least));
    const all = open.reduce((sum, { runs }) => sum + runs.size, ready.size);
    const share = Math.min(BATCH_RUNS_MAX, Math.ceil(all / open.length) - slot.runs.size);
    const runs: SlotRun[] = [];
    let batchUs = 0;
    for (let run: WorkerRun | undefined = head; run !== undefined; run = ready.peek()) {
      const expectedUs = estimateUs(run) ?? BATCH_US;
      if (run !== head) {
        if (run.fn !== head.fn || goesAlone(run)) break;
        if (runs.length >= share || batchUs + expectedUs > batchUsMax(runs.length)) break;
      }
      ready.shift();
      enter(slot, run, expectedUs, nowMs);
      runs.push(slotRun(run));
      batchUs += expectedUs;
    }
    out.push({ do: 'execute', slot: slot.index, fn: head.fn.fn, runs });
    return true;
  }
}

/** Runs of a slot that wait behind another and are not asked back already. */
export function waitingInSlot(slot: Slot): readonly WorkerRun[] {
  if (slot.runs.size < 2) return [];
  return [...slot.runs].filter((run, position) => position > 0 && !run.isWithdrawing);
}

function isIdle(slot: Slot): boolean {
  return slot.runs.size === 0 && slot.blockedBy === null;
}

/** Whether a slot takes another batch of short runs. */
function isOpen(slot: Slot, nowMs: number): boolean {
  if (slot.blockedBy !== null || slot.isExclusive) return false;
  if (slot.runs.size > 0 && nowMs - slot.heardMs >= STUCK_AFTER_MS) return false;
  if (slot.runs.size < 2) return true;
  return slot.chargedUs <= batchUsMax(slot.runs.size) && slot.runs.size <= BATCH_RUNS_MAX;
}

/** Expected work up to which a batch of so many runs takes another. */
function batchUsMax(runs: number): number {
  return runs < FEW_RUNS ? PIPELINED_US_MAX : BATCH_US;
}

function goesAlone(run: WorkerRun): boolean {
  if (run.threads > 1 || run.timeoutMs !== null || run.named !== null) return true;
  const expectedUs = estimateUs(run);
  return expectedUs === null || expectedUs > PIPELINED_US_MAX;
}

/** What a run is expected to take: as measured here, else as measured anywhere. */
function estimateUs(run: WorkerRun): number | null {
  const expectedUs = run.fn.meanUs ?? run.expectedUs;
  return expectedUs === null ? null : Math.max(RUN_OVERHEAD_US, expectedUs);
}

function enter(slot: Slot, run: WorkerRun, expectedUs: number, nowMs: number): void {
  if (slot.runs.size === 0) slot.heardMs = nowMs;
  slot.runs.add(run);
  slot.chargedUs += expectedUs;
  run.state = 'slotted';
  run.slot = slot.index;
  run.chargedUs = expectedUs;
}

function slotRun(run: WorkerRun): SlotRun {
  const { task, key, attempt, args, inputs, timeoutMs, resources, named: devices } = run;
  return { run: run.run, task, key, attempt, args, inputs, timeoutMs, resources, devices };
}

/**
 * Which ready task goes to which worker. Runs once for each batch of events.
 *
 * Ready tasks wait in one queue for each requirement. Queues are served in the order of their
 * heads, each until nothing more of it can be placed; a head that finds no room never holds up the
 * other queues. After a pass no ready task fits any free worker, so the next pass looks only at
 * what changed since: workers that had a run end (`dirty`), and queues with new tasks (`isFresh`).
 *
 * Slots are filled breadth first over the workers. Beyond its slots a worker gets plain tasks ahead
 * of time, as many as last about two round trips.
 */
import { eachItem } from './collections/one-or-many.ts';
import { tellFunction } from './functions.ts';
import { comesBefore, headOf, nextInBlock } from './queueing.ts';
import type { Block, QueueEntry, Requirement, TaskState, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';
import { assign, recordOf } from './transitions.ts';
import { fitsNow, isLong, loadOf } from './workload.ts';

/** Idle workers that are compared for one task; beyond, whoever got a run last is looked at last. */
const COMPARED_MAX = 32;
/** Holders of one dependency that are considered. */
const HOLDERS_MAX = 32;

/** Places what can be placed. */
export function place(tables: Tables): void {
  if (!tables.needsPlacement) return;
  tables.needsPlacement = false;
  if (tables.closing === null) new PlacementPass(tables).run();
  tables.dirty.clear();
}

class PlacementPass {
  readonly #tables: Tables;
  /** Queues that found no room in this pass. Their heads come before what is still to be placed. */
  readonly #blocked: Requirement[] = [];
  /** Workers that may have room they had not at the end of the last pass. */
  readonly #changed: Set<WorkerState>;
  /** Number of runs at which a worker has its share of a queue. */
  readonly #shareEnds = new Map<Requirement, Map<WorkerState, number>>();
  /** Workers that may get more than their slots: they are at work already. */
  readonly #busy: Set<WorkerState>;

  constructor(tables: Tables) {
    this.#tables = tables;
    this.#changed = new Set(tables.dirty);
    this.#busy = new Set(tables.dirty);
  }

  run(): void {
    const open: Requirement[] = [];
    for (const requirement of this.#tables.requirements.values()) {
      if (requirement.ready > 0 && requirement.fits.size > 0) open.push(requirement);
      // Whom a worker is kept clear for depends on the heads, which may have changed.
      if (requirement.reserved !== null) this.#changed.add(requirement.reserved);
    }
    while (open.length > 0) {
      const best = takeBest(open);
      if (best === null) return;
      if (!this.#serve(best.requirement, best.head)) {
        this.#blocked.push(best.requirement);
        open.splice(open.indexOf(best.requirement), 1);
      }
    }
  }

  /** Places the head of a queue, and of a block as much as possible. False where there is no room. */
  #serve(requirement: Requirement, head: QueueEntry): boolean {
    const { task, block } = head;
    const isPlaced = task === null ? this.#serveBlock(block) : this.#serveTask(task);
    if (isPlaced) {
      requirement.blockedSinceMs = null;
      requirement.reserved = null;
      return true;
    }
    requirement.isFresh = false;
    this.#reserve(requirement);
    return false;
  }

  #serveTask(task: TaskState): boolean {
    const worker = this.#nearest(task) ?? this.#freest(task.block) ?? this.#ahead(task.block);
    if (worker === null) return false;
    this.#assign(task, worker);
    return true;
  }

  #serveBlock(block: Block): boolean {
    let isPlaced = false;
    // First every free slot gets one, breadth first.
    for (;;) {
      const index = nextInBlock(block);
      if (index === null) return true;
      const worker = this.#freest(block);
      if (worker === null) break;
      this.#assignNext(block, index, worker);
      isPlaced = true;
    }
    if (!block.requirement.isPlain) return isPlaced;
    // Then whoever is at work gets a share to go on with.
    for (const worker of this.#busy) {
      for (let left = this.#roomAhead(worker, block); left > 0; left--) {
        const index = nextInBlock(block);
        if (index === null) return true;
        this.#assignNext(block, index, worker);
        isPlaced = true;
      }
    }
    return isPlaced;
  }

  #assignNext(block: Block, index: number, worker: WorkerState): void {
    const task = recordOf(block, index);
    block.cursor = index + 1;
    if (task !== null) this.#assign(task, worker);
  }

  #assign(task: TaskState, worker: WorkerState): void {
    const tables = this.#tables;
    const assignment = assign(tables, task, worker);
    tellFunction(tables, worker, task.block.fn);
    tables.outbox.run(assignment, task);
    this.#busy.add(worker);
    // Round robin among equals.
    if (tables.idle.delete(worker)) {
      if (worker.threadsUsed < worker.nthreads) tables.idle.add(worker);
    }
  }

  /** Of the workers with room that hold inputs, the one with the most bytes. */
  #nearest({ dependencies, block }: TaskState): WorkerState | null {
    if (dependencies.length === 0) return null;
    let best: WorkerState | null = null;
    let bestBytes = 0;
    for (const [worker, bytes] of bytesHeld(dependencies)) {
      if (bytes < bestBytes || !this.#hasRoom(worker, block)) continue;
      if (bytes === bestBytes && best !== null && loadOf(worker) >= loadOf(best)) continue;
      best = worker;
      bestBytes = bytes;
    }
    return best;
  }

  /** The least loaded worker on which a task of the block could start now. */
  #freest({ requirement }: Block): WorkerState | null {
    let best: WorkerState | null = null;
    let bestLoad = 0;
    let isBestPreferred = false;
    let compared = 0;
    for (const worker of this.#candidates(requirement)) {
      if (!requirement.fits.has(worker) || !fitsNow(worker, requirement)) continue;
      if (this.#isReserved(worker)) continue;
      const load = loadOf(worker);
      const isPreferred = requirement.preferred.has(worker);
      const isBetter = isPreferred === isBestPreferred ? load < bestLoad : isPreferred;
      if (best === null || isBetter) {
        best = worker;
        bestLoad = load;
        isBestPreferred = isPreferred;
      }
      compared += 1;
      if (requirement.id === '' && (bestLoad === 0 || compared >= COMPARED_MAX)) break;
    }
    return best;
  }

  /** Workers that may have a free slot for the head of a queue. */
  #candidates({ fits, isFresh, id }: Requirement): Iterable<WorkerState> {
    const { idle } = this.#tables;
    if (id === '') return idle;
    if (!isFresh) return this.#changed;
    return fits.size < idle.size ? fits : idle;
  }

  /** The least loaded worker that can be sent a task of the block ahead of a free slot. */
  #ahead(block: Block): WorkerState | null {
    if (!block.requirement.isPlain) return null;
    let best: WorkerState | null = null;
    for (const worker of this.#busy) {
      if (this.#roomAhead(worker, block) <= 0) continue;
      if (best === null || loadOf(worker) < loadOf(best)) best = worker;
    }
    return best;
  }

  #hasRoom(worker: WorkerState, block: Block): boolean {
    const { requirement } = block;
    if (!requirement.fits.has(worker)) return false;
    if (fitsNow(worker, requirement)) return !this.#isReserved(worker);
    return requirement.isPlain && this.#roomAhead(worker, block) > 0;
  }

  /** How many more plain tasks of the block a worker may have, free slots included. */
  #roomAhead(worker: WorkerState, { requirement, fn }: Block): number {
    if (!requirement.fits.has(worker) || this.#isReserved(worker)) return 0;
    const free = worker.nthreads - worker.threadsUsed;
    // Who waits for a slot here gets the next one; what is sent ahead would take it.
    for (const waiting of this.#blocked) {
      if (waiting.fits.has(worker) && worker.pool.canHold(waiting.needs)) return free;
    }
    const { prefetchTargetMs, prefetchTasksMax } = this.#tables.config;
    const { meanUs } = fn.prefix;
    if (meanUs === null || isLong(this.#tables, meanUs)) return free;
    const perSlot = Math.min(prefetchTasksMax, Math.ceil((prefetchTargetMs * 1_000) / meanUs));
    const room = free + Math.max(0, worker.nthreads - worker.threadsLong) * perSlot;
    return Math.min(room, this.#share(worker, requirement));
  }

  /**
   * What is left of a worker's part of a queue. Each pass shares out what is ready by slots, so that
   * the last tasks end everywhere at about one time.
   */
  #share(worker: WorkerState, requirement: Requirement): number {
    let ends = this.#shareEnds.get(requirement);
    if (ends === undefined) {
      ends = new Map<WorkerState, number>();
      this.#shareEnds.set(requirement, ends);
    }
    let end = ends.get(worker);
    if (end === undefined) {
      const slots = requirement.id === '' ? this.#tables.slots : slotsOf(requirement);
      end = worker.runs.size + Math.ceil((requirement.ready * worker.nthreads) / slots);
      ends.set(worker, end);
    }
    return end - worker.runs.size;
  }

  /** A requirement that has waited too long gets the worker that is nearest to having room. */
  #reserve(requirement: Requirement): void {
    const { nowMs, config } = this.#tables;
    requirement.blockedSinceMs ??= nowMs;
    if (requirement.isPlain || requirement.reserved !== null) return;
    if (nowMs - requirement.blockedSinceMs < config.reserveAfterMs) return;
    for (const worker of requirement.fits) {
      const { reserved } = requirement;
      if (this.#isReserved(worker)) continue;
      if (reserved === null || loadOf(worker) < loadOf(reserved)) requirement.reserved = worker;
    }
  }

  /** Whether the worker is kept clear for a queue whose head came before. */
  #isReserved(worker: WorkerState): boolean {
    return this.#blocked.some(({ reserved }) => reserved === worker);
  }
}

/** The queue whose head comes first. Those without one are taken out of `open`. */
function takeBest(open: Requirement[]): {
  readonly requirement: Requirement;
  readonly head: QueueEntry;
} | null {
  let best: { readonly requirement: Requirement; readonly head: QueueEntry } | null = null;
  for (let at = open.length - 1; at >= 0; at--) {
    const requirement = open[at];
    const head = requirement === undefined ? null : headOf(requirement);
    if (requirement === undefined || head === null) open.splice(at, 1);
    else if (best === null || comesBefore(head, best.head)) best = { requirement, head };
  }
  return best;
}

/** Bytes of the dependencies on each worker. Values kept by the scheduler need not be moved. */
function bytesHeld(dependencies: readonly TaskState[]): Map<WorkerState, number> {
  const bytes = new Map<WorkerState, number>();
  for (const { holders, size, valueAt } of dependencies) {
    if (valueAt >= 0) continue;
    let counted = 0;
    for (const holder of eachItem(holders)) {
      bytes.set(holder, (bytes.get(holder) ?? 0) + size);
      counted += 1;
      if (counted >= HOLDERS_MAX) break;
    }
  }
  return bytes;
}

function slotsOf({ fits }: Requirement): number {
  let slots = 0;
  for (const { nthreads } of fits) slots += nthreads;
  return slots;
}

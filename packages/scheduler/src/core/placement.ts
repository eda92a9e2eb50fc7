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
import { eachItem, firstItem } from './collections/one-or-many.ts';
import { tellFunction } from './functions.ts';
import { canHold, inputBytes } from './input-size.ts';
import { Homes } from './homes.ts';
import { areSiblings, hasConsumers, partnersOf } from './order.ts';
import { headOf, nextInBlock } from './queueing.ts';
import { clearingUs, isInTheWay } from './reservation.ts';
import { chargeLane, isServedBefore } from './ready-queue.ts';
import type { Prefix } from './durations.ts';
import { recordAt, requirementOf } from './state.ts';
import type { Block, QueueEntry, Requirement, TaskState, WorkerState } from './state.ts';
import { placeMoved } from './stealing.ts';
import type { Tables } from './tables.ts';
import { transferUs } from './transfer.ts';
import { assign, recordOf } from './transitions.ts';
import { fitsNow, isFit, isLong, loadOf } from './workload.ts';

/** Idle workers that are compared for one task; beyond, whoever got a run last is looked at last. */
const COMPARED_MAX = 4;
/** Work, by the time of the transfers it spares, that a task waits for while all are busy. */
const PATIENCE = 4;
/** Idle workers on the host of an input that are considered. */
const NEARBY_MAX = 2;
/** How much of the time of a transfer is spared within a host. */
const NEAR_SHARE = 0.9;
/** Holders of one dependency that are considered. */
const HOLDERS_MAX = 32;

/** Places what can be placed. */
export function place(tables: Tables): void {
  if (!tables.needsPlacement) return;
  tables.needsPlacement = false;
  placeMoved(tables);
  if (tables.closing === null) new PlacementPass(tables).run();
  tables.dirty.clear();
}

class PlacementPass {
  readonly #tables: Tables;
  /** Queues that found no room in this pass. Their heads come before what is still to be placed. */
  readonly #blocked: Requirement[] = [];
  /** Number of runs at which a worker has its share of a queue. */
  #shareEnds: Map<Requirement, Map<WorkerState, number>> | null = null;
  /** Workers that may get more than their slots: they are at work already. Each once. */
  readonly #busy: WorkerState[] = [];
  /** Those of them that may have room for more tasks of a prefix. */
  #roomy: Map<Prefix, Roomy> | null = null;
  readonly #number: number;

  constructor(tables: Tables) {
    this.#tables = tables;
    this.#number = ++tables.passes;
  }

  run(): void {
    const open: Requirement[] = [];
    for (const requirement of this.#tables.requirements.values()) {
      if (requirement.ready > 0 && requirement.fits.size > 0) open.push(requirement);
      // Whom a worker is kept clear for depends on the heads, which may have changed.
      if (requirement.reserved !== null) this.#tables.dirty.add(requirement.reserved);
    }
    if (open.length === 0) return;
    for (const worker of this.#tables.dirty) this.#noteBusy(worker);
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
      requirement.isHeldUpTold = false;
      requirement.reserved = null;
      return true;
    }
    requirement.isFresh = false;
    this.#reserve(requirement);
    return false;
  }

  #serveTask(task: TaskState): boolean {
    const worker = this.#best(task);
    if (worker === null) return false;
    this.#assign(task, worker);
    return true;
  }

  #serveBlock(block: Block): boolean {
    let isPlaced = false;
    let last: WorkerState | null = null;
    const family = new Family(this.#tables, block);
    // First every free slot gets one, breadth first.
    for (;;) {
      const index = nextInBlock(block);
      if (index === null) {
        block.homes = null;
        return true;
      }
      const worker: WorkerState | null = this.#beside(family, last, index) ?? this.#freest(block);
      if (worker === null) break;
      this.#assignNext(block, this.#atHome(block, worker) ?? index, worker);
      family.add(worker);
      last = worker;
      isPlaced = true;
      // Others may have their turn by now.
      if (this.#tables.hasWeights) return true;
    }
    if (!block.requirement.isPlain) return isPlaced;
    // Then whoever is at work gets a share to go on with.
    for (const worker of this.#busy) {
      for (let left = this.#roomAhead(worker, block); left > 0; left--) {
        const index = nextInBlock(block);
        if (index === null) return true;
        if (this.#floods(block, index)) break;
        this.#assignNext(block, this.#atHome(block, worker) ?? index, worker);
        isPlaced = true;
        if (this.#tables.hasWeights) return true;
      }
    }
    return isPlaced;
  }

  #assignNext(block: Block, index: number, worker: WorkerState): void {
    const task = recordOf(block, index);
    // What is taken from the middle is passed over once the cursor gets there.
    if (index === block.cursor) block.cursor = index + 1;
    if (task !== null) this.#assign(task, worker);
  }

  /** The next task of the worker's own part of a block; null where any is as good. */
  #atHome(block: Block, worker: WorkerState): number | null {
    if (block.homes === null) {
      const { count, cursor } = block;
      const { slots } = block.requirement;
      if (!hasConsumers(recordAt(block, cursor))) return null;
      if (slots <= worker.nthreads || count - cursor < 2 * slots) return null;
      block.homes = new Homes(block, slots);
    }
    return block.homes.next(worker);
  }

  #assign(task: TaskState, worker: WorkerState): void {
    const tables = this.#tables;
    chargeLane(tables, task.block);
    const assignment = assign(tables, task, worker);
    tellFunction(tables, worker, task.block.fn);
    tables.outbox.run(assignment, task);
    this.#noteBusy(worker);
    // Round robin among equals.
    if (tables.idle.delete(worker)) {
      if (worker.threadsUsed < worker.nthreads) tables.idle.add(worker);
    }
  }

  /**
   * The worker on which a task would start first, its inputs brought there: one with a free slot, or
   * one that holds inputs, though the task has to wait for a slot there (Dask's objective:
   * occupancy per slot + bytes to move / bandwidth).
   */
  #best(task: TaskState): WorkerState | null {
    const { block, dependencies } = task;
    const ask = askOf(task);
    const avoided = task.trouble?.avoided ?? null;
    let best = this.#freest(ask, avoided);
    if (dependencies.length === 0) {
      best = this.#besidePartners(task) ?? best;
      return best ?? (this.#floods(block, task.index) ? null : this.#ahead(ask));
    }
    const bytes = inputBytes(task);
    const held = holdings(this.#tables, dependencies);
    if (best !== null && !canHold(best, bytes)) best = this.#roomiest(ask, bytes) ?? best;
    let bestUs = best === null ? Infinity : this.#startUs(task, best, held);
    const nearby = best === null ? [] : this.#nearby(held);
    for (const worker of [...held.workers.keys(), ...nearby]) {
      if (worker === best || worker === avoided || !canHold(worker, bytes)) continue;
      const hasRoom = best === null ? this.#hasRoom(worker, ask) : this.#mayWait(worker, ask);
      if (!hasRoom || (best !== null && isPreferred(best, ask) && !isPreferred(worker, ask))) {
        continue;
      }
      const startUs = this.#startUs(task, worker, held);
      if (best !== null && startUs >= bestUs) continue;
      best = worker;
      bestUs = startUs;
    }
    return best ?? this.#ahead(ask);
  }

  /** When a task would start on a worker, in microseconds from now. */
  #startUs(task: TaskState, worker: WorkerState, held: Holdings): number {
    const requirement = requirementOf(task);
    const isFree = fitsNow(worker, requirement);
    // Whoever has a free slot is as good as another, unless many are after the same input.
    const sparedUs = spared(held, worker);
    if (isFree && !held.isShared) return held.totalUs - sparedUs;
    let waitUs = loadOf(worker);
    const { idle, config } = this.#tables;
    if (requirement.ready > idle.size) {
      // All will have something to do: a task that waits a little keeps nobody idle.
      const freeUs = Math.min(config.prefetchTargetMs * 1_000, PATIENCE * sparedUs);
      waitUs = Math.max(0, waitUs - freeUs);
    }
    return waitUs + held.totalUs - sparedUs;
  }

  /** Workers with a free slot on the hosts of inputs. */
  #nearby({ hosts }: Holdings): WorkerState[] {
    const { idle } = this.#tables;
    if (hosts === null || idle.hosts < 2) return [];
    const found: WorkerState[] = [];
    for (const host of hosts.keys()) {
      let left = NEARBY_MAX;
      for (const worker of idle.on(host)) {
        found.push(worker);
        left -= 1;
        if (left === 0) break;
      }
    }
    return found;
  }

  /** Whether a task of the block may be put behind what a worker does already. */
  #mayWait(worker: WorkerState, { requirement }: Ask): boolean {
    if (!isFit(worker, requirement)) return false;
    if (fitsNow(worker, requirement)) return !this.#isReserved(worker, requirement);
    if (this.#isReserved(worker)) return false;
    return requirement.isPlain && !this.#hasWaiting(worker);
  }

  /** Whether another queue waits for a slot of the worker. */
  #hasWaiting(worker: WorkerState): boolean {
    for (const waiting of this.#blocked) {
      if (waiting.fits.has(worker) && worker.pool.canHold(waiting.needs)) return true;
    }
    return false;
  }

  /** The least loaded worker that has memory for that many bytes, with a free slot or without. */
  #roomiest({ requirement }: Ask, bytes: number): WorkerState | null {
    let best: WorkerState | null = null;
    if (!requirement.isPlain) return null;
    for (const worker of requirement.fits) {
      if (!canHold(worker, bytes) || this.#isReserved(worker)) continue;
      if (best === null || loadOf(worker) < loadOf(best)) best = worker;
    }
    return best;
  }

  /** The worker that the task before in the block went to, where the two are used together. */
  #beside(family: Family, last: WorkerState | null, index: number): WorkerState | null {
    const { block } = family;
    if (last === null || !family.hasPlaceFor(last)) return null;
    if (!areSiblings(recordAt(block, index), recordAt(block, index - 1))) return null;
    if (!fitsNow(last, block.requirement)) return null;
    if (this.#isReserved(last, block.requirement)) return null;
    return last;
  }

  /** A worker with room that has, or makes, what is used together with the result of a task. */
  #besidePartners(task: TaskState): WorkerState | null {
    const { block, index } = task;
    const ask = askOf(task);
    for (const partner of partnersOf(task)) {
      const worker = firstItem(partner.holders) ?? partner.assignment?.worker;
      if (worker === undefined || worker === task.trouble?.avoided) continue;
      if (!worker.isAccepting || !this.#hasRoom(worker, ask)) continue;
      if (fitsNow(worker, ask.requirement) || !this.#floods(block, index)) return worker;
    }
    return null;
  }

  /** Whether results like this one would pile up before their consumers have a slot. */
  #floods(block: Block, index: number): boolean {
    const { meanBytes } = block.fn.prefix;
    if (meanBytes === null || meanBytes <= this.#tables.config.prefetchBytesMax) return false;
    return hasConsumers(recordAt(block, index));
  }

  /** The least loaded worker on which a task of the block could start now. */
  #freest({ requirement }: Ask, avoided: WorkerState | null = null): WorkerState | null {
    let best: WorkerState | null = null;
    let last: WorkerState | null = null;
    let bestLoad = 0;
    let isBestPreferred = false;
    if (requirement.id === '') return this.#freestPlain(requirement, avoided);
    for (const worker of this.#candidates(requirement)) {
      if (!requirement.fits.has(worker) || !fitsNow(worker, requirement)) continue;
      if (this.#isReserved(worker, requirement)) continue;
      if (worker === avoided) {
        last = worker;
        continue;
      }
      const load = loadOf(worker);
      const isPreferred = requirement.preferred.has(worker);
      const isBetter = isPreferred === isBestPreferred ? load < bestLoad : isPreferred;
      if (best === null || isBetter) {
        best = worker;
        bestLoad = load;
        isBestPreferred = isPreferred;
      }
    }
    return best ?? last;
  }

  /** The same for a task that needs no more than a slot, which every idle worker has. */
  #freestPlain(requirement: Requirement, avoided: WorkerState | null): WorkerState | null {
    const isAnyBlocked = this.#blocked.length > 0;
    let best: WorkerState | null = null;
    let last: WorkerState | null = null;
    let bestLoad = 0;
    let compared = 0;
    const { idle } = this.#tables;
    for (let place = idle.placeFrom(0); place >= 0; place = idle.placeFrom(place + 1)) {
      const worker = idle.at(place);
      if (worker === null) continue;
      if (isAnyBlocked && this.#isReserved(worker, requirement)) continue;
      if (worker === avoided) {
        last = worker;
        continue;
      }
      const load = idle.loadAt(place);
      if (best === null || load < bestLoad) {
        best = worker;
        bestLoad = load;
      }
      compared += 1;
      if (bestLoad === 0 || compared >= COMPARED_MAX) break;
    }
    return best ?? last;
  }

  /** Workers that may have a free slot for the head of a queue. */
  #candidates({ fits, isFresh }: Requirement): Iterable<WorkerState> {
    const { idle, dirty } = this.#tables;
    if (!isFresh) return dirty;
    return fits.size < idle.size ? fits : idle;
  }

  /** The least loaded worker that can be sent a task of the block ahead of a free slot. */
  #ahead(ask: Ask): WorkerState | null {
    if (!ask.requirement.isPlain) return null;
    let best: WorkerState | null = null;
    let compared = 0;
    // Whoever has no room for tasks of a prefix gets none in this pass; unless that is since others
    // are asked for, or since the block is a special one.
    const isAny = ask.requirement.id === '' && ask.rerunOnLoss;
    const workers = isAny ? this.#roomyFor(ask.fn.prefix).workers : this.#busy;
    for (let at = 0; at < workers.length && compared < COMPARED_MAX;) {
      const worker = workers[at];
      if (worker === undefined || this.#roomAhead(worker, ask) <= 0) {
        if (isAny) takeOut(workers, at);
        else at += 1;
        continue;
      }
      if (best === null || loadOf(worker) < loadOf(best)) best = worker;
      compared += 1;
      at += 1;
    }
    return best;
  }

  #roomyFor(prefix: Prefix): Roomy {
    this.#roomy ??= new Map<Prefix, Roomy>();
    let roomy = this.#roomy.get(prefix);
    if (roomy === undefined) this.#roomy.set(prefix, (roomy = { workers: [], seen: 0 }));
    for (; roomy.seen < this.#busy.length; roomy.seen++) {
      const worker = this.#busy[roomy.seen];
      if (worker !== undefined) roomy.workers.push(worker);
    }
    return roomy;
  }

  #noteBusy(worker: WorkerState): void {
    if (worker.pass === this.#number) return;
    worker.pass = this.#number;
    this.#busy.push(worker);
  }

  #hasRoom(worker: WorkerState, ask: Ask): boolean {
    const { requirement } = ask;
    if (!isFit(worker, requirement)) return false;
    if (fitsNow(worker, requirement)) return !this.#isReserved(worker, requirement);
    return requirement.isPlain && this.#roomAhead(worker, ask) > 0;
  }

  /** How many more plain tasks of the block a worker may have, free slots included. */
  #roomAhead(worker: WorkerState, { requirement, fn, rerunOnLoss }: Ask): number {
    if (!isFit(worker, requirement) || this.#isReserved(worker)) return 0;
    const free = worker.nthreads - worker.threadsUsed;
    // Who waits for a slot here gets the next one; what is sent ahead would take it.
    // Nobody could tell whether what was sent ahead had started when a worker is lost.
    if (!rerunOnLoss || this.#hasWaiting(worker)) return free;
    const { prefetchTargetMs, prefetchTasksMax } = this.#tables.config;
    const { meanUs } = fn.prefix;
    if (meanUs === null || isLong(this.#tables, meanUs)) return free;
    const perSlot = Math.min(prefetchTasksMax, Math.ceil((prefetchTargetMs * 1_000) / meanUs));
    const room = free + Math.max(0, worker.nthreads - worker.threadsLong) * perSlot;
    return Math.min(room, this.#share(worker, requirement));
  }

  /**
   * What is left of a worker's part of a queue. Each pass shares out what is ready, and what was sent
   * already, by slots, so that the last tasks end everywhere at about one time.
   */
  #share(worker: WorkerState, requirement: Requirement): number {
    if (requirement.id === '') {
      if (worker.sharePass !== this.#number) {
        const { slots, ready } = requirement;
        const { processing } = this.#tables.counts;
        worker.sharePass = this.#number;
        worker.shareEnd = Math.ceil(((ready + processing) * worker.nthreads) / slots);
      }
      return worker.shareEnd - worker.runs.size;
    }
    this.#shareEnds ??= new Map<Requirement, Map<WorkerState, number>>();
    let ends = this.#shareEnds.get(requirement);
    if (ends === undefined) {
      ends = new Map<WorkerState, number>();
      this.#shareEnds.set(requirement, ends);
    }
    let end = ends.get(worker);
    if (end === undefined) {
      const { slots, ready } = requirement;
      end = worker.runs.size + Math.ceil((ready * worker.nthreads) / slots);
      ends.set(worker, end);
    }
    return end - worker.runs.size;
  }

  /**
   * A requirement that has waited too long gets the worker that is nearest to having room, and later
   * another where that turns out to be far from it.
   */
  #reserve(requirement: Requirement): void {
    const { nowMs, config } = this.#tables;
    const { reserved } = requirement;
    requirement.blockedSinceMs ??= nowMs;
    if (requirement.isPlain || nowMs - requirement.blockedSinceMs < config.reserveAfterMs) return;
    if (reserved !== null && nowMs - requirement.reservedAtMs < config.reserveAfterMs) return;
    requirement.reservedAtMs = nowMs;
    let bestUs = reserved === null ? Infinity : clearingUs(reserved, requirement, nowMs) / 2;
    for (const worker of requirement.fits) {
      if (this.#isReserved(worker)) continue;
      const us = clearingUs(worker, requirement, nowMs);
      if (us >= bestUs) continue;
      requirement.reserved = worker;
      bestUs = us;
    }
    if (reserved !== null) this.#tables.dirty.add(reserved);
  }

  /**
   * Whether the worker is kept clear for a queue whose head came before; of a task that could start
   * there, whether it would be in the way of that head.
   */
  #isReserved(worker: WorkerState, other: Requirement | null = null): boolean {
    return this.#blocked.some(
      (kept) => kept.reserved === worker && (other === null || isInTheWay(worker, kept, other)),
    );
  }
}

/** What tasks of a block need of a worker; or one of them, that asks for more than the others. */
type Ask = Pick<Block, 'requirement' | 'fn' | 'rerunOnLoss'>;

function askOf({ block, trouble }: TaskState): Ask {
  const requirement = trouble?.requirement ?? null;
  if (requirement === null) return block;
  return { requirement, fn: block.fn, rerunOnLoss: block.rerunOnLoss };
}

/** Workers that may have room for tasks of a prefix, of the busy ones up to `seen`. */
interface Roomy {
  readonly workers: WorkerState[];
  seen: number;
}

/** Removes one; the last takes its place. */
function takeOut(items: WorkerState[], at: number): void {
  const last = items.pop();
  if (last !== undefined && at < items.length) items[at] = last;
}

/** Whether a loose restriction of the block names the worker. */
function isPreferred(worker: WorkerState, { requirement }: Ask): boolean {
  return requirement.preferred.has(worker);
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
    else if (best === null || isServedBefore(head, best.head)) best = { requirement, head };
  }
  return best;
}

/** What bringing the inputs of a task to a worker takes, and who would be spared how much of it. */
interface Holdings {
  readonly totalUs: number;
  readonly workers: ReadonlyMap<WorkerState, number>;
  /**
   * The same by host, where that has other workers: what is there need not cross the network. Null
   * for none.
   */
  readonly hosts: ReadonlyMap<string, number> | null;
  /** An input is used by more tasks than its holder has slots. */
  readonly isShared: boolean;
}

function holdings(tables: Tables, dependencies: readonly TaskState[]): Holdings {
  const workers = new Map<WorkerState, number>();
  let hosts: Map<string, number> | null = null;
  let totalUs = 0;
  let isShared = false;
  for (const dependency of dependencies) {
    const us = transferUs(tables, dependency);
    totalUs += us;
    let counted = 0;
    let seen: string[] | null = null;
    for (const holder of eachItem(dependency.holders)) {
      // A kept value is not fetched from anybody.
      if (dependency.valueAt < 0 && !isAloneOnHost(holder)) {
        const { host } = holder.hello;
        hosts ??= new Map<string, number>();
        seen ??= [];
        if (!seen.includes(host)) hosts.set(host, (hosts.get(host) ?? 0) + us);
        seen.push(host);
      }
      workers.set(holder, (workers.get(holder) ?? 0) + us);
      if (dependency.needers > holder.nthreads) isShared = true;
      counted += 1;
      if (counted >= HOLDERS_MAX) break;
    }
  }
  return { totalUs, workers, hosts, isShared };
}

/** Whether its host is known to have no other worker that takes runs. */
function isAloneOnHost(worker: WorkerState): boolean {
  return worker.isAccepting && worker.idleOnHost === null;
}

/** How much of the transfers a worker is spared: what it has, and most of what its host has. */
function spared({ workers, hosts }: Holdings, worker: WorkerState): number {
  const hereUs = workers.get(worker) ?? 0;
  if (hosts === null) return hereUs;
  const nearUs = hosts.get(worker.hello.host) ?? 0;
  return hereUs + NEAR_SHARE * Math.max(0, nearUs - hereUs);
}

/** How many consecutive tasks of a block one worker gets in a pass: its share of what is ready. */
class Family {
  readonly block: Block;
  readonly #perSlot: number;
  #last: WorkerState | null = null;
  #length = 0;

  constructor({ slots }: Tables, block: Block) {
    this.block = block;
    this.#perSlot = block.requirement.ready / Math.max(1, slots);
  }

  hasPlaceFor({ nthreads }: WorkerState): boolean {
    return this.#length < Math.floor(this.#perSlot * nthreads);
  }

  add(worker: WorkerState): void {
    this.#length = worker === this.#last ? this.#length + 1 : 1;
    this.#last = worker;
  }
}

/** The queue of one requirement, and how clients that ask for it get their share of it. */
import type { ClientHello } from '@farm/protocol/core';

import { Heap } from './collections/heap.ts';
import { comesBefore } from './order.ts';
import type { Block, QueueEntry } from './state.ts';
import type { Tables } from './tables.ts';

/**
 * Whose tasks are served side by side: a client with a weight has a lane of its own, all others
 * share one. Lanes are served by what they have been given so far, over their weight (start-time
 * fair queueing, Goyal et al. 1996); within a lane by priority and order.
 */
export class Lane {
  readonly weight: number;
  /** Expected work given so far, over the weight, in microseconds. */
  servedUs = 0;

  constructor(weight: number) {
    this.weight = weight;
  }
}

/** Entries of ready tasks: the lane that was given least comes first, and in it the best entry. */
export class ReadyQueue {
  readonly #first: Lane;
  /** Of the lane that all clients without a weight share. */
  readonly #heap = new Heap<QueueEntry>(comesBefore);
  /** Of other lanes; none in a cluster where nobody has a weight. */
  readonly #others = new Map<Lane, Heap<QueueEntry>>();

  constructor(shared: Lane) {
    this.#first = shared;
  }

  push(entry: QueueEntry): void {
    const { lane } = entry.block;
    if (lane === this.#first) {
      this.#heap.push(entry);
      return;
    }
    let heap = this.#others.get(lane);
    if (heap === undefined) this.#others.set(lane, (heap = new Heap(comesBefore)));
    heap.push(entry);
  }

  /** The entry that is next, which stays. */
  peek(): QueueEntry | undefined {
    return this.#others.size === 0 ? this.#heap.peek() : this.#next().heap.peek();
  }

  /** Takes out what `peek` shows. */
  pop(): QueueEntry | undefined {
    if (this.#others.size === 0) return this.#heap.pop();
    const { lane, heap } = this.#next();
    const entry = heap.pop();
    if (heap.size === 0) this.#others.delete(lane);
    return entry;
  }

  /** All entries, in no particular order. */
  *items(): Iterable<QueueEntry> {
    yield* this.#heap.items();
    for (const heap of this.#others.values()) yield* heap.items();
  }

  clear(): void {
    this.#heap.clear();
    this.#others.clear();
  }

  #next(): { readonly lane: Lane; readonly heap: Heap<QueueEntry> } {
    let lane = this.#first;
    let heap = this.#heap;
    for (const [other, its] of this.#others) {
      if (its.size === 0 || (heap.size > 0 && other.servedUs >= lane.servedUs)) continue;
      lane = other;
      heap = its;
    }
    return { lane, heap };
  }
}

/** The lane of a client that connects. */
export function laneOf(tables: Tables, { weight }: ClientHello): Lane {
  if (weight === undefined || weight === null) return tables.sharedLane;
  tables.hasWeights = true;
  return new Lane(weight);
}

/** Whether `a` is to be placed before `b`, of another queue. */
export function isServedBefore(a: QueueEntry, b: QueueEntry): boolean {
  const one = a.block.lane;
  const other = b.block.lane;
  return one === other ? comesBefore(a, b) : one.servedUs < other.servedUs;
}

/** A task of the block is placed: its lane has had its turn. */
export function chargeLane(tables: Tables, { lane, requirement, fn }: Block): void {
  if (!tables.hasWeights) return;
  const { unknownDurationMs } = tables.config;
  const workUs = requirement.threads * (fn.prefix.meanUs ?? unknownDurationMs * 1_000);
  tables.servedUs = Math.max(tables.servedUs, lane.servedUs);
  lane.servedUs += workUs / lane.weight;
}

/** Tasks of the lane are ready: who had none for a while has not saved up for it. */
export function joinLane({ servedUs }: Tables, { lane }: Block): void {
  if (lane.servedUs < servedUs) lane.servedUs = servedUs;
}

import type { ClientMessage } from '@farm/protocol/core';

import type {
  SchedulerEvent,
  SchedulerInstruction,
} from '../../packages/scheduler/src/core/index.ts';
import { check } from '../failure.ts';

interface Wish {
  /** `lock a`, `semaphore a`. */
  readonly what: string;
  readonly lease: number;
  readonly leasesMax: number;
}

/**
 * Locks and semaphores: never more holders than leases, and who is gone holds none. Items of queues:
 * each that was put is got once at most.
 */
export class LeaseChecker {
  /** What sessions wait for, by session and request. */
  readonly #wishes = new Map<string, Map<number, Wish>>();
  /** Who holds leases, by what: session and lease. */
  readonly #holders = new Map<string, Map<string, string>>();
  readonly #put = new Set<number>();
  readonly #got = new Set<number>();
  #given = 0;

  /** Leases that were given. */
  get given(): number {
    return this.#given;
  }

  /** Items that were got. */
  get got(): number {
    return this.#got.size;
  }

  /** A client puts an item into a queue. */
  put(item: number): void {
    this.#put.add(item);
  }

  /** A client is given an item out of a queue. */
  take(item: number): void {
    check(this.#put.has(item), 'leases', `item ${item} is got, and nobody has put it`);
    check(!this.#got.has(item), 'leases', `item ${item} is got twice`);
    this.#got.add(item);
  }

  /** The scheduler is about to hear this. */
  event(event: SchedulerEvent): void {
    if (event.kind === 'client-lost') this.#gone(event.client);
    else if (event.kind === 'client-said') this.#said(event.client, event.message);
  }

  /** The scheduler asks for all this. Who is sent away is so before others get what it had. */
  instructions(all: readonly SchedulerInstruction[]): void {
    for (const instruction of all) {
      if (instruction.do === 'drop-client') this.#gone(instruction.client);
    }
    for (const instruction of all) {
      if (instruction.do !== 'to-client' || instruction.message.op !== 'reply') continue;
      this.#answered(instruction.client, instruction.message.request, instruction.message.answer);
    }
  }

  #said(client: string, message: ClientMessage): void {
    if (message.op === 'close-client') this.#gone(client);
    if (message.op !== 'ask') return;
    const { request } = message;
    let wishes = this.#wishes.get(client);
    if (wishes === undefined) this.#wishes.set(client, (wishes = new Map<number, Wish>()));
    switch (message.method) {
      case 'lock-acquire': {
        const { name, lease } = message.params;
        wishes.set(request, { what: `lock ${name}`, lease, leasesMax: 1 });
        break;
      }
      case 'semaphore-acquire': {
        const { name, lease, leasesMax } = message.params;
        wishes.set(request, { what: `semaphore ${name}`, lease, leasesMax });
        break;
      }
      case 'lock-release':
        this.#holders
          .get(`lock ${message.params.name}`)
          ?.delete(`${client} ${message.params.lease}`);
        break;
      case 'semaphore-release': {
        const { name, lease } = message.params;
        this.#holders.get(`semaphore ${name}`)?.delete(`${client} ${lease}`);
        break;
      }
      default:
    }
  }

  #answered(client: string, request: number, answer: unknown): void {
    const wish = this.#wishes.get(client)?.get(request);
    this.#wishes.get(client)?.delete(request);
    if (wish === undefined || answer !== true) return;
    const { what, lease, leasesMax } = wish;
    let holders = this.#holders.get(what);
    if (holders === undefined) this.#holders.set(what, (holders = new Map<string, string>()));
    holders.set(`${client} ${lease}`, client);
    this.#given += 1;
    const who = [...new Set(holders.values())].join(', ');
    check(holders.size <= leasesMax, 'leases', `${what} has ${holders.size} holders: ${who}`);
  }

  #gone(client: string): void {
    this.#wishes.delete(client);
    for (const holders of this.#holders.values()) {
      for (const [lease, holder] of holders) if (holder === client) holders.delete(lease);
    }
  }
}

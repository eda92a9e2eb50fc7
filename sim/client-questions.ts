import { ask, sharedItem } from '@farm/protocol/core';
import type {
  Ask,
  Questions,
  ReceivedItems,
  Replicated,
  Reply,
  Retired,
} from '@farm/protocol/core';

import { check } from './failure.ts';
import type { SimulatedProcess } from './process.ts';
import type { ClientAction } from './scenario.ts';
import type { World } from './world.ts';

/** Answers as they come: an answer, or null and why there is none. */
type Answered = (answer: unknown, code: string | null) => void;

type LeaseAction = Extract<ClientAction, { readonly kind: 'lease' }>;

/** A client's questions: each is answered once, with something that makes sense. */
export class ClientQuestions {
  readonly #world: World;
  readonly #process: SimulatedProcess;
  readonly #say: (message: Ask) => void;
  readonly #newRequest: () => number;
  readonly #open = new Map<number, Answered>();
  /** Number of the client among items of queues, so that no two are the same. */
  readonly #number: number;
  #nextLease = 1;
  #nextItem = 1;

  constructor(
    world: World,
    options: {
      readonly process: SimulatedProcess;
      readonly number: number;
      readonly say: (message: Ask) => void;
      readonly newRequest: () => number;
    },
  ) {
    this.#world = world;
    this.#process = options.process;
    this.#number = options.number;
    this.#say = options.say;
    this.#newRequest = options.newRequest;
  }

  /** Questions that are not answered. */
  get size(): number {
    return this.#open.size;
  }

  /** Asks something that cannot be refused. */
  ask<M extends keyof Questions>(
    method: M,
    params: Questions[M]['params'],
    answered: (answer: Questions[M]['answer']) => void = () => {},
  ): void {
    this.#ask(method, params, (answer, code) => {
      check(code === null, 'messages', `question ${method} failed: ${code}`);
      // SAFE: what a question is answered with is what its table says.
      answered(answer as Questions[M]['answer']);
    });
  }

  /** Takes in an answer. */
  hear({ request, answer, error }: Reply): void {
    const answered = this.#open.get(request);
    check(answered !== undefined, 'messages', `an answer to no question: ${request}`);
    this.#open.delete(request);
    answered(answer, error?.code ?? null);
  }

  /** Wants copies of results, or results spread evenly. */
  copy(ids: readonly number[], copies: number | null): void {
    const done = ({ copied, dropped, failed }: Replicated): void => {
      this.#world.coverage.happened('copied', copied);
      this.#world.coverage.happened('copies dropped', dropped);
      this.#world.coverage.happened('copy not possible', failed.length);
    };
    if (copies === null) this.ask('rebalance', { ids, workers: [] }, done);
    else this.ask('replicate', { ids, copies, workers: [] }, done);
  }

  /** Wants workers to go. */
  retire({ worker, count, close, timeoutMs }: Extract<ClientAction, { kind: 'retire' }>): void {
    const workers = worker === null ? [] : [worker];
    this.ask(
      'retire-workers',
      { workers, count, close, timeoutMs },
      ({ retired, kept }: Retired) => {
        this.#world.coverage.happened('worker retired', retired.length);
        this.#world.coverage.happened('worker kept', kept.length);
      },
    );
  }

  /** Takes a lease, holds it for a while, and gives it back. */
  lease({ name, leasesMax, holdMs, timeoutMs }: LeaseAction): void {
    const lease = this.#nextLease++;
    const isLock = leasesMax === 1;
    const answered: Answered = (isGiven, code) => {
      check(code === null, 'messages', `lease of ${name} was refused: ${code}`);
      check(isGiven === true || timeoutMs !== null, 'leases', `${name} is refused to the patient`);
      if (isGiven !== true) {
        this.#world.coverage.happened('lease too late');
        return;
      }
      this.#world.coverage.happened('lease given');
      this.#process.after(holdMs, () => {
        this.ask(isLock ? 'lock-release' : 'semaphore-release', { name, lease });
      });
    };
    if (isLock) this.#ask('lock-acquire', { name, lease, timeoutMs }, answered);
    else this.#ask('semaphore-acquire', { name, lease, leasesMax, timeoutMs }, answered);
  }

  /** Puts an item of its own into a queue. */
  put({ name, sizeMax, timeoutMs }: Extract<ClientAction, { kind: 'put' }>): void {
    const item = this.#number * 1_000_000 + this.#nextItem++;
    this.#world.checks.leases.put(item);
    const value = new TextEncoder().encode(String(item));
    const params = { name, item: sharedItem(value, []), sizeMax, timeoutMs };
    this.#ask('queue-put', params, (_answer, code) => {
      check(code === null || code === 'ERR_TIMEOUT', 'messages', `put into ${name}: ${code}`);
    });
  }

  /** Gets items of a queue. */
  get({ name, max, timeoutMs }: Extract<ClientAction, { kind: 'get' }>): void {
    const params = { name, min: 1, max, timeoutMs, ids: { first: 0, count: 0 } };
    this.#ask('queue-get', params, (answer, code) => {
      check(code === null || code === 'ERR_TIMEOUT', 'messages', `get from ${name}: ${code}`);
      if (code !== null) return;
      // SAFE: what a get is answered with.
      const { items } = answer as ReceivedItems;
      check(items.length >= 1 && items.length <= max, 'leases', `${items.length} items were got`);
      this.#world.coverage.happened('item got', items.length);
      for (const { value } of items) {
        this.#world.checks.leases.take(Number(new TextDecoder().decode(value)));
      }
    });
  }

  #ask<M extends keyof Questions>(
    method: M,
    params: Questions[M]['params'],
    answered: Answered,
  ): void {
    const request = this.#newRequest();
    this.#open.set(request, answered);
    this.#say(ask(request, method, params));
  }
}

import { type Ask, type FarmError, type Questions, type Reply, ask } from '@farm/protocol';

import { errorOf } from './failures.ts';

interface Pending {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** Questions to the scheduler that wait for their answers. */
export class PendingQuestions {
  readonly #pending = new Map<number, Pending>();
  readonly #send: (message: Ask) => void;
  #next = 1;

  constructor(send: (message: Ask) => void) {
    this.#send = send;
  }

  /** Asks; rejects with what the scheduler refuses for, or with why there is no answer. */
  ask<M extends keyof Questions>(
    method: M,
    params: Questions[M]['params'],
  ): Promise<Questions[M]['answer']> {
    const request = this.#next;
    this.#next += 1;
    const { promise, resolve, reject } = Promise.withResolvers<Questions[M]['answer']>();
    this.#pending.set(request, {
      // SAFE: the scheduler answers a method with that method's answer; the codec checked the reply.
      resolve: (answer) => resolve(answer as Questions[M]['answer']),
      reject,
    });
    this.#send(ask(request, method, params));
    return promise;
  }

  /** Takes in an answer; one that nobody waits for is dropped. */
  reply(message: Reply): void {
    const pending = this.#pending.get(message.request);
    this.#pending.delete(message.request);
    if (message.error === null) pending?.resolve(message.answer);
    else pending?.reject(errorOf(message.error, message.error.origin));
  }

  /** Rejects all of them. */
  rejectAll(error: FarmError): void {
    for (const pending of this.#pending.values()) pending.reject(error);
    this.#pending.clear();
  }
}

import type { ClientMessage, Retired } from '@farm/protocol/core';

import type {
  SchedulerEvent,
  SchedulerInstruction,
} from '../../packages/scheduler/src/core/index.ts';
import { check } from '../failure.ts';

/** A worker that a client named to be retired, until it is said that it stays. */
interface Retirement {
  readonly client: string;
  readonly request: number;
  readonly session: string;
}

/** A worker that is to retire gets no runs, unless the client is told that it stays (I6). */
export class RetirementChecker {
  readonly #names = new Map<string, string>();
  #retirements: Retirement[] = [];

  /** The scheduler is about to hear this. */
  event(event: SchedulerEvent): void {
    if (event.kind === 'worker-connected') this.#names.set(event.worker, event.hello.name);
    else if (event.kind === 'worker-lost') this.#workerGone(event.worker);
    else if (event.kind === 'client-lost') this.#clientGone(event.client);
    else if (event.kind === 'client-said') this.#said(event.client, event.message);
  }

  /** The scheduler asks for all this. */
  instructions(all: readonly SchedulerInstruction[]): void {
    for (const instruction of all) {
      if (instruction.do === 'drop-worker') this.#workerGone(instruction.worker);
      else if (instruction.do === 'drop-client') this.#clientGone(instruction.client);
      else if (instruction.do === 'to-client' && instruction.message.op === 'reply') {
        this.#answered(instruction.client, instruction.message.request, instruction.message.answer);
      }
    }
    for (const instruction of all) {
      if (instruction.do !== 'to-worker' || instruction.message.op !== 'run') continue;
      const { worker, message } = instruction;
      const isRetiring = this.#retirements.some(({ session }) => session === worker);
      const name = this.#names.get(worker);
      check(!isRetiring, 'assignments', `${message.key} is assigned to ${name}, which retires`);
    }
  }

  #said(client: string, message: ClientMessage): void {
    if (message.op === 'close-client') this.#clientGone(client);
    if (message.op !== 'ask' || message.method !== 'retire-workers') return;
    const { request, params } = message;
    // Of several, some may be known to stay before the client is told of all.
    if (params.workers.length !== 1) return;
    for (const [session, name] of this.#names) {
      if (params.workers.includes(name)) this.#retirements.push({ client, request, session });
    }
  }

  #answered(client: string, request: number, answer: unknown): void {
    const asked = this.#retirements.filter((one) => {
      return one.client === client && one.request === request;
    });
    if (asked.length === 0) return;
    // SAFE: what a question to retire is answered with.
    const { kept } = answer as Retired;
    const stay = new Set(kept.map(({ worker }) => worker));
    this.#retirements = this.#retirements.filter((one) => {
      return !asked.includes(one) || !stay.has(this.#names.get(one.session) ?? '');
    });
  }

  #workerGone(worker: string): void {
    this.#names.delete(worker);
    this.#retirements = this.#retirements.filter(({ session }) => session !== worker);
  }

  /** Nobody is told any more whether the worker stays. */
  #clientGone(gone: string): void {
    this.#retirements = this.#retirements.filter(({ client }) => client !== gone);
  }
}

import type { Failure } from '@farm/protocol/core';

import { check } from '../failure.ts';
import type { Oracle } from '../oracle.ts';
import type { FutureModel, SimulatedClient } from '../simulated-client.ts';

/** What the checker asks of others. */
export interface OutcomeContext {
  readonly oracle: Oracle;
  readonly allowedFailures: number;
  /** How often a worker was lost while the task was assigned to it. */
  readonly deathsOf: (ref: number) => number;
  /** How many workers were lost, or said that an input is nowhere. */
  readonly losses: () => number;
}

/**
 * What clients are told: values are those of the oracle, failures have a cause, and an outcome does
 * not change unless it is said to be computed again, for a reason (I1, I5, I15).
 */
export class OutcomeChecker {
  readonly #context: OutcomeContext;
  #hasRetried = false;

  constructor(context: OutcomeContext) {
    this.#context = context;
  }

  /** A client asks for failed tasks to run again. */
  retried(refs: readonly number[]): void {
    if (refs.length > 0) this.#hasRetried = true;
  }

  /** Whether a task is, or depends on, one of these. */
  needsAny(ref: number, wanted: ReadonlySet<number>): boolean {
    const seen = new Set([ref]);
    for (const at of seen) {
      if (wanted.has(at)) return true;
      for (const dep of this.#context.oracle.spec(at).deps) seen.add(dep);
    }
    return false;
  }

  result(
    client: SimulatedClient,
    future: FutureModel,
    sizeBytes: number,
    value: Uint8Array | null,
  ): void {
    if (future.state === 'released') return;
    const what = this.#name(client, future);
    check(future.state === 'pending', 'outcomes', `${what} has a result, but was ${future.state}`);
    future.state = 'memory';
    future.sizeBytes = sizeBytes;
    const right = this.#context.oracle.value(future.ref);
    check(right !== null, 'oracle', `${what} has a result, but can only fail`);
    check(right.byteLength === sizeBytes, 'oracle', `${what} has ${sizeBytes} bytes`);
    if (value !== null) this.verify(future, value);
  }

  /** A value must be the right one. */
  verify(future: FutureModel, value: Uint8Array): void {
    const right = this.#context.oracle.value(future.ref);
    const isRight =
      right !== null &&
      Buffer.compare(Buffer.from(right.buffer, right.byteOffset, right.byteLength), value) === 0;
    check(isRight, 'oracle', `the value of future ${future.id} (task ${future.ref}) is wrong`);
    future.isVerified = true;
  }

  failed(client: SimulatedClient, future: FutureModel, why: Failure): void {
    if (future.state === 'released') return;
    const what = this.#name(client, future);
    check(future.state === 'pending', 'outcomes', `${what} failed, but was ${future.state}`);
    future.state = 'erred';
    const { oracle, deathsOf, allowedFailures, losses } = this.#context;
    const hasLosses = losses() > 0 || this.#hasRetried;
    const wrong = oracle.findFault(future.ref, why, { deathsOf, allowedFailures, hasLosses });
    check(wrong === null, 'legitimate failure', `${what} failed: ${wrong} (origin ${why.origin})`);
  }

  cancelled(client: SimulatedClient, future: FutureModel): void {
    if (future.state === 'released') return;
    const what = this.#name(client, future);
    check(future.mayBeCancelled, 'outcomes', `${what} is cancelled, and nobody asked for that`);
    check(future.state !== 'cancelled', 'outcomes', `${what} is cancelled twice`);
    future.state = 'cancelled';
  }

  recomputing(client: SimulatedClient, future: FutureModel): void {
    const { state } = future;
    if (state === 'released') return;
    const what = this.#name(client, future);
    const hasReason = state === 'memory' ? this.#context.losses() > 0 : this.#hasRetried;
    check(
      hasReason && (state === 'memory' || state === 'erred'),
      'outcomes',
      `${what} is computed again for no reason, it was ${state}`,
    );
    future.state = 'pending';
  }

  #name({ plan }: SimulatedClient, { id, ref }: FutureModel): string {
    return `future ${id} of ${plan.name} (task ${ref}, ${this.#context.oracle.spec(ref).key})`;
  }
}

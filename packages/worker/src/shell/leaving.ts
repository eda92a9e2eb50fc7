import { FarmError } from '@farm/protocol';

import { EXIT_RESTART } from './exit-restart.ts';
import type { WorkerEnd } from './worker-end.ts';

/** Whether a worker is to leave, once it has drained or at once, and how it has ended then. */
export class Leaving {
  readonly #closing = new AbortController();
  #drain: { readonly reason: string; readonly restart: boolean } | undefined;

  /** Aborts when the worker is to leave at once; its reason says why. */
  get signal(): AbortSignal {
    return this.#closing.signal;
  }

  /** It is to end, once what it executes has ended. Said again, a restart may be called off. */
  drain(reason: string, restart: boolean): void {
    this.#drain = { reason, restart: restart && this.#drain?.restart !== false };
  }

  /** There is nothing to drain: it leaves at once, as the drain says. */
  endDrain(reason: string): void {
    this.#closing.abort(new FarmError('ERR_CLOSED', reason));
  }

  /** It leaves at once, and no other is started, whatever a drain said. */
  close(reason: string): void {
    this.#drain = undefined;
    this.#closing.abort(new FarmError('ERR_CLOSED', reason));
  }

  /** Why it is to leave at once; undefined where it is not. */
  get closeReason(): string | undefined {
    const { signal } = this.#closing;
    return signal.aborted ? messageOf(signal.reason) : undefined;
  }

  /** How it has ended where it was asked to leave at once; else undefined. */
  closed(): WorkerEnd | undefined {
    const reason = this.closeReason;
    return reason === undefined ? undefined : this.#left(reason);
  }

  /** How it has ended where it was asked to drain; else undefined. */
  drained(): WorkerEnd | undefined {
    return this.#drain === undefined ? undefined : this.#left(this.#drain.reason);
  }

  #left(reason: string): WorkerEnd {
    return { exitCode: this.#drain?.restart === true ? EXIT_RESTART : 0, reason };
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

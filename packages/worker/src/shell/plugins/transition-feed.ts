import type { Transition } from './plugin-messages.ts';
import type { RunState } from './worker-plugin.ts';

/** Who is told of transitions. */
export interface TransitionListener {
  move(transitions: readonly Transition[]): void;
}

/**
 * Tells plugins what becomes of runs, in batches: what one turn of the event loop brings goes
 * together. Where no plugin wants to know, a run costs nothing but a look at an empty list.
 */
export class TransitionFeed {
  /** Who wants to know. */
  listeners: readonly TransitionListener[] = [];
  /** Runs that plugins were told of. */
  readonly #runs = new Map<number, { readonly key: string; state: RunState }>();
  #waiting: Transition[] = [];

  /** A run was handed to its slot. To be called only where somebody listens. */
  began(run: number, key: string): void {
    this.#runs.set(run, { key, state: 'executing' });
    this.#tell([key, 'ready', 'executing']);
  }

  /** A run moved on; of one that began when nobody wanted to know nothing is told. */
  moved(run: number, to: RunState): void {
    if (this.#runs.size === 0) return;
    const known = this.#runs.get(run);
    if (known === undefined) return;
    const { key, state } = known;
    if (to === 'seceded') known.state = to;
    else this.#runs.delete(run);
    this.#tell([key, state, to]);
  }

  /** Nothing is known of any run any more. */
  clear(): void {
    this.#runs.clear();
  }

  #tell(transition: Transition): void {
    this.#waiting.push(transition);
    if (this.#waiting.length > 1) return;
    setImmediate(() => {
      const told = this.#waiting;
      this.#waiting = [];
      for (const listener of this.listeners) listener.move(told);
    });
  }
}

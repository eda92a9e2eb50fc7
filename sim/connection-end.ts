import type { Timer } from './clock.ts';
import type { Link, LinkEnd } from './link.ts';
import type { SimulatedProcess } from './process.ts';

/** How the end of a connection hears. */
export interface Listener<Payload> {
  /** The other end said something. */
  heard(payload: Payload): void;
  /** The connection is over. Called once. */
  closed(reason: string): void;
  /** The socket is lost and the session is not: what is said meanwhile waits. */
  detached?(reason: string): void;
  /** It goes on; only after `detached`. */
  attached?(): void;
  /** While it was detached, the process at the other end was seen to have ended. */
  died?(): void;
}

interface Item<Payload> {
  readonly payload: Payload | null;
  readonly reason: string;
}

/** Takes the place of something that was lost on its way. */
// SAFE: compared by identity before anything looks at it as a payload.
const LOST = { lost: true } as never;

/** Between two attempts to take a session up again. */
const REDIAL_MS = 100;

/** One end of a connection. */
export class End<Payload> implements LinkEnd {
  readonly owner: SimulatedProcess;
  readonly link: Link<End<Payload>>;
  #listener: Listener<Payload> | null = null;
  #unheard: Payload[] = [];
  #other: End<Payload> | null = null;
  /** On their way to the other end. */
  #outgoing: Item<Payload>[] = [];
  #arrived = 0;
  #lastAtMs = 0;
  #isClosing = false;
  #isClosed = false;
  #isCloseTold = false;
  /** The socket is lost: what is said waits until the session is taken up. */
  #isDetached = false;
  #isDetachedTold = false;
  #closeReason = '';
  #silence: Timer | null = null;
  #silentSinceMs: number | null = null;
  #unwatch: (() => void) | null = null;

  constructor(owner: SimulatedProcess, link: Link<End<Payload>>) {
    this.owner = owner;
    this.link = link;
  }

  /** Whether nothing is sent or heard here any more. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Whether the socket is lost and the session is not. */
  get isDetached(): boolean {
    return this.#isDetached;
  }

  /** Makes two ends a connection. */
  join(other: End<Payload>): void {
    this.#other = other;
    this.link.ends.add(this);
    this.#unwatch = other.owner.watch(() => this.noticeSilence());
    this.noticeSilence();
  }

  /** Begins to hear; what came before is heard first. */
  listen(listener: Listener<Payload>): void {
    this.#listener = listener;
    const unheard = this.#unheard;
    this.#unheard = [];
    for (const payload of unheard) listener.heard(payload);
    if (this.#isCloseTold) listener.closed(this.#closeReason);
  }

  /** Says something to the other end; nothing happens on a connection that is over. */
  send(payload: Payload): void {
    if (this.#isClosed || this.#isClosing) return;
    this.#enqueue({ payload, reason: '' });
  }

  /** Ends the connection after what was said. */
  close(reason: string): void {
    if (this.#isClosed || this.#isClosing) return;
    this.#isClosing = true;
    this.#enqueue({ payload: null, reason });
    this.link.clock.after(this.link.settings.dialMs / 4, () => this.#end(reason));
  }

  /** Breaks the connection: some of what was said last is lost. */
  terminate(reason: string): void {
    if (this.#isClosed) return;
    const other = this.#other;
    if (this.#isDetached && other !== null) {
      // Nothing can be said any more; who looks for the process finds that it has ended.
      if (this.owner.isDead) {
        const delayMs = this.link.delayMs(this.owner);
        this.link.clock.after(delayMs, () => other.owner.run(() => other.#seeDeath()));
      }
    } else {
      this.#loseSome();
      this.#enqueue({ payload: null, reason });
    }
    this.#end(reason);
  }

  /**
   * The socket is lost, and the session is not: both ends keep what they say, and nothing that was
   * said is lost. Whoever dialled notices at once, the other end a little later.
   */
  detach(reason: string): void {
    const other = this.#other;
    if (other === null || this.#isDetached || !this.#isOpen || !other.#isOpen) return;
    this.#isDetached = true;
    other.#isDetached = true;
    this.#noteDetached(reason);
    this.link.clock.after(this.link.delayMs(other.owner), () => other.#noteDetached(reason));
    this.noticeSilence();
    other.noticeSilence();
  }

  /**
   * Takes the session up again, from the end that dialled, as soon as the other can be reached:
   * everything that waits follows in order. Where the other end has given it up it is over.
   */
  attach(): void {
    const other = this.#other;
    if (other === null || !this.#isDetached || this.#isClosed) return;
    if (this.link.isCut || this.owner.isPaused || other.owner.isPaused) {
      this.link.clock.after(REDIAL_MS, () => this.attach());
      return;
    }
    if (!other.#isOpen) {
      this.#end('the session is not known any more');
      return;
    }
    this.#isDetached = false;
    other.#isDetached = false;
    for (const end of [this, other]) {
      end.#noteAttached();
      end.noticeSilence();
    }
    for (const end of [this, other]) end.pump();
  }

  get #isOpen(): boolean {
    return !this.#isClosed && !this.#isClosing;
  }

  #noteDetached(reason: string): void {
    this.owner.run(() => {
      if (!this.#isDetached || this.#isClosed || this.#isDetachedTold) return;
      this.#isDetachedTold = true;
      this.#listener?.detached?.(reason);
    });
  }

  #noteAttached(): void {
    this.owner.run(() => {
      if (this.#isDetached || this.#isClosed || !this.#isDetachedTold) return;
      this.#isDetachedTold = false;
      this.#listener?.attached?.();
    });
  }

  #seeDeath(): void {
    if (this.#isDetached && !this.#isClosed) this.#listener?.died?.();
  }

  /** The owner is gone and its machine is silent: what is on its way arrives, and nothing else. */
  vanish(): void {
    this.#isClosed = true;
    this.#leave();
    this.#other?.noticeSilence();
  }

  /** Goes on after the link was cut. */
  pump(): void {
    while (this.#arrived > 0 && !this.link.isCut && !this.#isDetached) {
      this.#arrived -= 1;
      const item = this.#outgoing.shift();
      const other = this.#other;
      if (item === undefined || other === null) continue;
      other.owner.run(() => other.#take(item));
    }
    if (this.#outgoing.length === 0) this.link.talking.delete(this);
  }

  /** Looks whether the other end can be heard, and since when not. */
  noticeSilence(): void {
    const other = this.#other;
    if (this.#isClosed || other === null) return;
    const { clock } = this.link;
    const { owner } = other;
    // Whoever has lost the socket listens to nobody.
    const isHeard = this.#isDetached;
    const isSilent =
      !isHeard &&
      (this.link.isCut || owner.isPaused || (owner.isDead && other.#isClosed && !other.#hasFin()));
    if (!isSilent) {
      this.#silentSinceMs = null;
      clock.cancel(this.#silence);
      this.#silence = null;
    } else if (this.#silentSinceMs === null) {
      this.#silentSinceMs = clock.nowMs;
      this.#awaitSilence(this.link.settings.silenceMs);
    }
  }

  #awaitSilence(delayMs: number): void {
    const { clock, settings } = this.link;
    const { silenceMs } = settings;
    this.#silence = clock.after(delayMs + this.link.random.between(0, silenceMs / 15), () => {
      // Time in which this end itself stood still does not count.
      const { isPaused, runningSinceMs } = this.owner;
      const ownMs = clock.nowMs - Math.max(runningSinceMs, this.#silentSinceMs ?? clock.nowMs);
      if (isPaused) this.#awaitSilence(silenceMs);
      else if (ownMs < silenceMs) this.#awaitSilence(silenceMs - ownMs);
      else this.terminate(`nothing was heard for ${silenceMs} ms`);
    });
  }

  #hasFin(): boolean {
    return this.#outgoing.some(({ payload }) => payload === null);
  }

  #enqueue(item: Item<Payload>): void {
    const { clock } = this.link;
    this.#outgoing.push(item);
    this.link.talking.add(this);
    this.#lastAtMs = Math.max(this.#lastAtMs, clock.nowMs + this.link.delayMs(this.owner));
    clock.at(this.#lastAtMs, () => {
      this.#arrived += 1;
      this.pump();
    });
  }

  /** Drops some of what is on its way, the last said first. */
  #loseSome(): void {
    const kept = this.link.random.below(this.#outgoing.length + 1);
    for (let at = kept; at < this.#outgoing.length; at++) {
      this.#outgoing[at] = { payload: LOST, reason: '' };
    }
  }

  #take({ payload, reason }: Item<Payload>): void {
    if (this.#isClosed || payload === LOST) return;
    if (payload === null) {
      const other = this.#other;
      if (other !== null) other.#answerFin(reason);
      this.#end(reason);
    } else if (this.#listener === null) this.#unheard.push(payload);
    else this.#listener.heard(payload);
  }

  /** The other end has taken in that this one closes. */
  #answerFin(reason: string): void {
    this.link.clock.after(this.link.delayMs(this.owner), () => this.#end(reason));
  }

  #end(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#leave();
    this.owner.run(() => {
      this.#isCloseTold = true;
      this.#closeReason = reason;
      this.#listener?.closed(reason);
    });
  }

  #leave(): void {
    this.link.clock.cancel(this.#silence);
    this.#unwatch?.();
    this.link.ends.delete(this);
  }
}

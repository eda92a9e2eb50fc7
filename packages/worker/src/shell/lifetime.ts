/** How long a worker is to live. */
export interface Lifetime {
  readonly lifetimeMs: number;
  /** Moves the end of each worker by up to so much, so that not all go at once. */
  readonly staggerMs: number;
  /** The nanny starts another then. */
  readonly restart: boolean;
}

/** The default of {@link LeavingOptions.drainTimeoutMs}: batch systems kill 30 s after SIGTERM. */
export const DRAIN_TIMEOUT_MS = 20_000;

/** When and how a worker process leaves. */
export interface LeavingOptions {
  /**
   * How long what executes may take to end after SIGTERM. What does not end runs elsewhere.
   * @default 20_000
   */
  readonly drainTimeoutMs?: number;
  /** When it drains by itself, and then waits for what it executes. @default never */
  readonly lifetime?: Lifetime;
}

/** The longest time a timer of Node can count. */
const TIMER_MS_MAX = 2_147_483_647;

/**
 * Draws how long one worker lives: its lifetime, give or take the stagger, and at least 0.
 *
 * @param random - From 0 to 1.
 */
export function drawLifetimeMs(lifetime: Lifetime, random: number = Math.random()): number {
  return Math.max(0, lifetime.lifetimeMs + (2 * random - 1) * lifetime.staggerMs);
}

/** Calls back after a time that may be longer than a timer can count. Returns what calls it off. */
export function afterLongTime(delayMs: number, action: () => void): () => void {
  const endMs = performance.now() + delayMs;
  let timer: NodeJS.Timeout;
  const wait = (): void => {
    const leftMs = endMs - performance.now();
    if (leftMs <= 0) action();
    else timer = setTimeout(wait, Math.min(leftMs, TIMER_MS_MAX));
  };
  timer = setTimeout(wait, Math.min(Math.max(0, delayMs), TIMER_MS_MAX));
  return () => clearTimeout(timer);
}

/**
 * The lifetimes of the workers that one nanny starts one after the other: each has its own where
 * they are to be restarted; else all together have one, since what they run under ends then.
 */
export class Lifetimes {
  readonly #lifetime: Lifetime;
  readonly #endMs: number;

  constructor(lifetime: Lifetime) {
    this.#lifetime = lifetime;
    this.#endMs = performance.now() + drawLifetimeMs(lifetime);
  }

  /** Of a worker that is started now; null where there is no time left for one. */
  next(): Lifetime | null {
    if (this.#lifetime.restart) return this.#lifetime;
    const leftMs = this.#endMs - performance.now();
    return leftMs <= 0 ? null : { ...this.#lifetime, lifetimeMs: leftMs, staggerMs: 0 };
  }
}

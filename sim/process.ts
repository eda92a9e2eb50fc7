import type { Clock, Timer } from './clock.ts';

/**
 * A process of the simulated cluster. It may be stopped for a while, like by SIGSTOP: what it would
 * have done happens when it continues. Once dead it does nothing any more.
 */
export class SimulatedProcess {
  /** For humans and the trace. */
  readonly name: string;
  /** Names the machine: what is cut off is cut off by machine. */
  readonly host: string;
  readonly #clock: Clock;
  #held: (() => void)[] = [];
  #isPaused = false;
  #isDead = false;
  #runningSinceMs: number;
  readonly #watchers = new Set<() => void>();

  constructor(clock: Clock, name: string, host: string) {
    this.#clock = clock;
    this.name = name;
    this.host = host;
    this.#runningSinceMs = clock.nowMs;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  get isDead(): boolean {
    return this.#isDead;
  }

  /** Since when it has run without a pause. */
  get runningSinceMs(): number {
    return this.#runningSinceMs;
  }

  /** Does something now, or when it continues. */
  run(action: () => void): void {
    if (this.#isDead) return;
    if (this.#isPaused) this.#held.push(action);
    else action();
  }

  /** Does something after a while of virtual time, or when it continues. */
  after(delayMs: number, action: () => void): Timer {
    return this.#clock.after(delayMs, () => this.run(action));
  }

  pause(): void {
    if (this.#isDead || this.#isPaused) return;
    this.#isPaused = true;
    this.#changed();
  }

  resume(): void {
    if (this.#isDead || !this.#isPaused) return;
    this.#isPaused = false;
    this.#runningSinceMs = this.#clock.nowMs;
    const held = this.#held;
    this.#held = [];
    this.#changed();
    // One of them may stop or end it again.
    for (const action of held) this.run(action);
  }

  die(): void {
    if (this.#isDead) return;
    this.#isDead = true;
    this.#isPaused = false;
    this.#held = [];
    this.#changed();
    this.#watchers.clear();
  }

  /** Calls back whenever it stops, continues or dies. */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed);
    return () => this.#watchers.delete(changed);
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher();
  }
}

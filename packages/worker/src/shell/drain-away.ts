/** A draining worker whose scheduler is away waits for it no longer than this. */
const AWAY_MS = 5_000;

/** Ends a drain that nobody hears of: without a scheduler nothing can be copied or handed back. */
export class DrainAway {
  readonly #giveUp: () => void;
  #isDraining = false;
  #isAway = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param giveUp - Called when a drain has waited long enough. */
  constructor(giveUp: () => void) {
    this.#giveUp = giveUp;
  }

  get isAway(): boolean {
    return this.#isAway;
  }

  drains(): void {
    this.#isDraining = true;
    this.#look();
  }

  detached(): void {
    this.#isAway = true;
    this.#look();
  }

  attached(): void {
    this.#isAway = false;
    this.close();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #look(): void {
    if (this.#isDraining && this.#isAway) this.#timer ??= setTimeout(this.#giveUp, AWAY_MS);
  }
}

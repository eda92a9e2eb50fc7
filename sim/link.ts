import type { Clock } from './clock.ts';
import { mix, Random } from './prng.ts';
import type { SimulatedProcess } from './process.ts';

/** What links are like, in milliseconds. */
export interface NetworkSettings {
  /** Each link has a typical delay of its own, out of this range. */
  readonly delayMs: readonly [low: number, high: number];
  /** Share of messages that take up to ten times as long. */
  readonly jitter: number;
  /** A peer that is silent for so long is dead. */
  readonly silenceMs: number;
  /** Opening a connection fails after so long. */
  readonly dialMs: number;
}

/** What all links have in common, and may change while they are used. */
export interface LinkSurroundings {
  readonly clock: Clock;
  readonly seed: number;
  readonly settings: NetworkSettings;
  /** What everything takes longer than usual. */
  readonly slowness: number;
}

/** What a link tells those who speak over it. */
export interface LinkEnd {
  /** It was cut or mended: whether the other end can be heard may be another matter now. */
  noticeSilence(): void;
  /** What was held back may arrive. */
  pump(): void;
}

/** The way between two machines, shared by all connections between them. */
export class Link<End extends LinkEnd> {
  readonly random: Random;
  /** Open ends of connections. */
  readonly ends: Set<End> = new Set();
  /** Ends that have something on its way, closed ones too. */
  readonly talking: Set<End> = new Set();
  readonly #surroundings: LinkSurroundings;
  readonly #typicalMs: number;
  #cuts = 0;
  /** What it takes longer than usual, by the machine that speaks. */
  readonly #slowness: Map<string, number> = new Map();

  constructor(surroundings: LinkSurroundings, name: string) {
    this.#surroundings = surroundings;
    this.random = new Random(mix(surroundings.seed, 'link', name));
    const [low, high] = surroundings.settings.delayMs;
    this.#typicalMs = this.random.spread(low, high);
  }

  get clock(): Clock {
    return this.#surroundings.clock;
  }

  get settings(): NetworkSettings {
    return this.#surroundings.settings;
  }

  get isCut(): boolean {
    return this.#cuts > 0;
  }

  /** Holds everything back until it is mended as often. */
  cut(): void {
    this.#cuts += 1;
    this.#changed();
  }

  mend(): void {
    this.#cuts = Math.max(0, this.#cuts - 1);
    this.#changed();
  }

  /** What is said from this machine takes so many times as long. */
  slowDown(host: string, factor: number): void {
    this.#slowness.set(host, factor);
  }

  delayMs(from: SimulatedProcess): number {
    const { settings, slowness } = this.#surroundings;
    const base = this.#typicalMs * this.random.between(0.5, 1.5);
    const tail = this.random.chance(settings.jitter) ? this.random.between(1, 10) : 1;
    const delayMs = base * tail * (this.#slowness.get(from.host) ?? 1) * slowness;
    // Beyond, the peer would count as silent: that is what cut links are for.
    return Math.min(delayMs, settings.silenceMs / 3);
  }

  #changed(): void {
    for (const end of [...this.ends]) end.noticeSilence();
    for (const end of [...this.talking]) end.pump();
  }
}

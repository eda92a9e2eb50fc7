/** Randomness that a seed decides: the same everywhere, and independent streams by name. */

/**
 * A 32-bit number out of numbers and texts, evenly spread. Different parts give independent
 * streams, so that what one part of a simulation draws does not shift what another one gets.
 *
 * @example new Random(mix(seed, 'network', name))
 */
export function mix(...parts: readonly (number | string)[]): number {
  let state = 0x9e3779b9;
  for (const part of parts) {
    if (typeof part === 'number') {
      state = scramble(state ^ (part | 0));
      // Fractions and what is beyond 32 bits count, too.
      const rest = (part - Math.trunc(part)) * 2 ** 32 + Math.floor(part / 2 ** 32);
      if (rest !== 0) state = scramble(state ^ (rest | 0));
    } else {
      for (let at = 0; at < part.length; at++)
        state = Math.imul(state ^ part.charCodeAt(at), 16777619);
      state = scramble(state ^ part.length);
    }
  }
  return state >>> 0;
}

/** The finalizer of SplitMix32: https://github.com/skeeto/hash-prospector (its best 32-bit one). */
function scramble(value: number): number {
  let mixed = value + 0x9e3779b9;
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x21f0aaad);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
  return mixed ^ (mixed >>> 15);
}

/**
 * A stream of random numbers: xoshiro128** by Blackman and Vigna
 * (https://prng.di.unimi.it/xoshiro128starstar.c).
 */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  constructor(seed: number) {
    this.#a = mix(seed, 1);
    this.#b = mix(seed, 2);
    this.#c = mix(seed, 3);
    this.#d = mix(seed, 4) | 1;
  }

  /** A whole number from 0 to 2^32 - 1. */
  next(): number {
    const times5 = Math.imul(this.#b, 5);
    const result = Math.imul((times5 << 7) | (times5 >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** From 0 up to but not including 1. */
  fraction(): number {
    return this.next() / 2 ** 32;
  }

  /** A whole number from 0 up to but not including `end`. */
  below(end: number): number {
    return Math.floor(this.fraction() * end);
  }

  /** A number from `low` up to but not including `high`. */
  between(low: number, high: number): number {
    return low + this.fraction() * (high - low);
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /**
   * One of several.
   *
   * @throws RangeError where there is none.
   */
  pick<T>(items: readonly T[]): T {
    if (items.length === 0) throw new RangeError('nothing to pick from');
    // SAFE: the index is in range.
    return items[this.below(items.length)] as T;
  }

  /** Each with the same probability, in order. */
  some<T>(items: readonly T[], probability: number): T[] {
    return items.filter(() => this.chance(probability));
  }

  /** Log-uniform between two positive numbers: every order of magnitude is as likely. */
  spread(low: number, high: number): number {
    return low * (high / low) ** this.fraction();
  }
}

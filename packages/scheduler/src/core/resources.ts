import type { ResourceAmounts } from '@farm/protocol/core';

/**
 * Amounts are counted in ten-thousandths, so that sums of fractions are exact: ten times 0.1 GPU
 * is one GPU. Whole amounts up to {@link AMOUNT_MAX} stay exact in a double.
 */
const UNITS_PER_ONE = 10_000;

/** Largest amount of one resource (14 TB where bytes are counted). */
export const AMOUNT_MAX = 1.4e13;

/** One named amount in units of 1/10000. */
export interface ResourceNeed {
  readonly name: string;
  readonly units: number;
}

/**
 * An amount in units.
 *
 * @returns null where it is negative, not finite or above {@link AMOUNT_MAX}.
 */
export function toUnits(amount: number): number | null {
  if (!Number.isFinite(amount) || amount < 0 || amount > AMOUNT_MAX) return null;
  return Math.round(amount * UNITS_PER_ONE);
}

/** An amount as users wrote it. */
export function fromUnits(units: number): number {
  return units / UNITS_PER_ONE;
}

/** What a worker declared, and how much of it is assigned. */
export class ResourcePool {
  /** Null where nothing is declared: most workers have no more than their threads. */
  readonly #capacity: Map<string, number> | null;
  /** Null until something is assigned. */
  #used: Map<string, number> | null = null;

  /** Adds up amounts of the same name; senseless ones count as nothing. */
  constructor(amounts: ResourceAmounts) {
    this.#capacity = amounts.length === 0 ? null : new Map<string, number>();
    for (const [name, amount] of amounts) {
      this.#capacity?.set(name, this.capacity(name) + (toUnits(amount) ?? 0));
    }
  }

  /** Units declared. */
  capacity(name: string): number {
    return this.#capacity?.get(name) ?? 0;
  }

  /** Units assigned. */
  used(name: string): number {
    return this.#used?.get(name) ?? 0;
  }

  /** Names of all that was declared. */
  names(): Iterable<string> {
    return this.#capacity?.keys() ?? [];
  }

  /** Whether the needs fit into what was declared. */
  couldHold(needs: readonly ResourceNeed[]): boolean {
    for (const { name, units } of needs) if (this.capacity(name) < units) return false;
    return true;
  }

  /** Whether the needs fit into what is free now. */
  canHold(needs: readonly ResourceNeed[]): boolean {
    for (const { name, units } of needs) {
      if (this.capacity(name) - this.used(name) < units) return false;
    }
    return true;
  }

  take(needs: readonly ResourceNeed[]): void {
    this.#used ??= new Map<string, number>();
    for (const { name, units } of needs) this.#used.set(name, this.used(name) + units);
  }

  giveBack(needs: readonly ResourceNeed[]): void {
    for (const { name, units } of needs) {
      const left = this.used(name) - units;
      if (left === 0) this.#used?.delete(name);
      else this.#used?.set(name, left);
    }
  }
}

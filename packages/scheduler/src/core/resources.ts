import { invariant, type ResourceAmounts } from '@farm/protocol/core';

import { Devices, type DeviceShares } from './devices.ts';

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

/** Devices that a run is granted, by resource; null where it needs none. */
export type DeviceGrant = ReadonlyMap<string, DeviceShares> | null;

/** What a run has of a pool. */
export interface ResourceUse {
  readonly requirement: { readonly needs: readonly ResourceNeed[] };
  readonly devices: DeviceGrant;
}

/** What a worker declared, and how much of it is assigned. */
export class ResourcePool {
  /** Null where nothing is declared: most workers have no more than their threads. */
  readonly #capacity: Map<string, number> | null;
  /** Of those that stand for devices; null where none does. */
  readonly #devices: Map<string, Devices> | null;
  /** Null until something is assigned. */
  #used: Map<string, number> | null = null;

  /**
   * Adds up amounts of the same name; senseless ones count as nothing.
   *
   * @param devices - Names of those that stand for devices.
   */
  constructor(amounts: ResourceAmounts, devices: readonly string[] = []) {
    this.#capacity = amounts.length === 0 ? null : new Map<string, number>();
    for (const [name, amount] of amounts) {
      this.#capacity?.set(name, this.capacity(name) + (toUnits(amount) ?? 0));
    }
    this.#devices = devices.length === 0 ? null : new Map<string, Devices>();
    for (const name of devices) this.#devices?.set(name, new Devices(this.capacity(name)));
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

  /** The devices that a resource stands for; undefined where it is an amount. */
  devices(name: string): Devices | undefined {
    return this.#devices?.get(name);
  }

  /** Whether the needs fit into what was declared. */
  couldHold(needs: readonly ResourceNeed[]): boolean {
    for (const { name, units } of needs) if (this.capacity(name) < units) return false;
    return true;
  }

  /** Whether the needs fit into what is free now. */
  canHold(needs: readonly ResourceNeed[]): boolean {
    for (const need of needs) if (!this.#isFree(need)) return false;
    return true;
  }

  /** Whether what is free now would still do for a need, if `taken` units of it were assigned. */
  canHoldBeside({ name, units }: ResourceNeed, taken: number): boolean {
    if (this.capacity(name) - this.used(name) - taken < units) return false;
    const devices = this.devices(name);
    const shares = devices?.choose(taken);
    if (devices === undefined || shares === undefined) return true;
    if (shares === null) return false;
    devices.take(shares);
    const isFree = devices.choose(units) !== null;
    devices.giveBack(shares);
    return isFree;
  }

  /** Whether the need would fit into what was declared if nobody but these runs had any of it. */
  couldHoldBeside({ name, units }: ResourceNeed, runs: readonly ResourceUse[]): boolean {
    let left = this.capacity(name);
    for (const { requirement } of runs) {
      for (const need of requirement.needs) if (need.name === name) left -= need.units;
    }
    if (left < units) return false;
    if (this.devices(name) === undefined) return true;
    const devices = new Devices(this.capacity(name));
    for (const run of runs) devices.take(run.devices?.get(name) ?? []);
    return devices.choose(units) !== null;
  }

  /** How often the need fits into what was declared, `most` times at most. */
  timesHeld({ name, units }: ResourceNeed, most: number): number {
    const capacity = this.capacity(name);
    if (this.devices(name) === undefined) return Math.min(most, Math.floor(capacity / units));
    const devices = new Devices(capacity);
    for (let times = 0; times < most; times++) {
      const shares = devices.choose(units);
      if (shares === null) return times;
      devices.take(shares);
    }
    return most;
  }

  /** Assigns what is free, and tells which devices. */
  take(needs: readonly ResourceNeed[]): DeviceGrant {
    this.#used ??= new Map<string, number>();
    let grant: Map<string, DeviceShares> | null = null;
    for (const { name, units } of needs) {
      this.#used.set(name, this.used(name) + units);
      const devices = this.devices(name);
      if (devices === undefined) continue;
      const shares = devices.choose(units);
      invariant(shares !== null, `${units} units of ${name} are assigned, and not free`);
      devices.take(shares);
      grant ??= new Map<string, DeviceShares>();
      grant.set(name, shares);
    }
    return grant;
  }

  giveBack(needs: readonly ResourceNeed[], grant: DeviceGrant): void {
    for (const { name, units } of needs) {
      const left = this.used(name) - units;
      if (left === 0) this.#used?.delete(name);
      else this.#used?.set(name, left);
    }
    for (const [name, shares] of grant ?? []) this.devices(name)?.giveBack(shares);
  }

  #isFree({ name, units }: ResourceNeed): boolean {
    if (this.capacity(name) - this.used(name) < units) return false;
    return this.devices(name)?.choose(units) !== null;
  }
}

import { invariant, type GrantedPlaces, type ResourceAmounts } from '@farm/protocol/core';

/** Shares are counted in ten-thousandths of a device, as amounts are: sums of them are exact. */
const UNITS_PER_DEVICE = 10_000;

/** A resource of a worker that stands for devices. */
export interface DeviceResource {
  readonly name: string;
  /** How the worker calls its devices: their numbers among those it sees, or their names. */
  readonly ids: readonly string[];
  /** As declared; of the last device it may be only a part: 1.5 is one device and half of another. */
  readonly amount: number;
}

/** Devices that a run is granted, by resource, as the worker calls them. */
export type GrantedDevices = readonly (readonly [name: string, ids: readonly string[]])[];

/** What runs ask for, and which devices the scheduler grants them. */
export interface Granted {
  readonly resources: ResourceAmounts;
  readonly devices: GrantedPlaces | null;
}

/**
 * The devices of a worker. Which of them a run has the scheduler decides: it grants a device only
 * once it was told that the run which had it is over, so that here it is free.
 */
export class Devices {
  readonly #resources = new Map<string, DeviceResource>();

  constructor(resources: readonly DeviceResource[]) {
    for (const resource of resources) {
      const { name, ids, amount } = resource;
      const count = Math.ceil(amount);
      invariant(ids.length === count, `${name}=${amount} is called ${ids.length} names`);
      this.#resources.set(name, resource);
    }
  }

  /** Whether amounts name devices, that is, whether there is something to grant. */
  areNeededBy(amounts: ResourceAmounts): boolean {
    if (this.#resources.size === 0) return false;
    return amounts.some(([name, amount]) => this.#resources.has(name) && amount > 0);
  }

  /** The devices of a run by their names; null where the grant is not what it asks for. */
  name({ resources, devices }: Granted): GrantedDevices | null {
    const named: (readonly [name: string, ids: readonly string[]])[] = [];
    for (const [at, [name, amount]] of resources.entries()) {
      const own = this.#resources.get(name);
      if (own === undefined || amount === 0) continue;
      const places = new Set(devices?.[at]);
      const ids = own.ids.filter((_, place) => places.has(place));
      if (ids.length !== Math.ceil(amount)) return null;
      named.push([name, ids]);
    }
    return named;
  }

  /**
   * Checks that these runs together have no more of any device than there is.
   *
   * @throws FarmError `ERR_INTERNAL` naming the first device of which that does not hold.
   */
  check(runs: Iterable<Granted>): void {
    const used = new Map<string, number>();
    for (const { resources, devices } of runs) {
      for (const [at, [name, amount]] of resources.entries()) {
        let left = toUnits(amount);
        for (const place of devices?.[at] ?? []) {
          // Whole ones come first.
          const units = Math.min(left, UNITS_PER_DEVICE);
          left -= units;
          used.set(`${name} ${place}`, (used.get(`${name} ${place}`) ?? 0) + units);
        }
      }
    }
    for (const { name, ids, amount } of this.#resources.values()) {
      for (const place of ids.keys()) {
        const capacity = Math.min(UNITS_PER_DEVICE, toUnits(amount) - place * UNITS_PER_DEVICE);
        const units = used.get(`${name} ${place}`) ?? 0;
        invariant(units <= capacity, `${name} ${place} is granted by ${units} of ${capacity}`);
      }
    }
  }
}

function toUnits(amount: number): number {
  return Math.round(amount * UNITS_PER_DEVICE);
}

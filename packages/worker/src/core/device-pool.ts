import { invariant, type ResourceAmounts } from '@farm/protocol/core';

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

/** Devices that were granted, by resource. */
export type GrantedDevices = readonly (readonly [name: string, ids: readonly string[]])[];

/** One device, and how much of it is granted. */
export interface Device {
  readonly id: string;
  readonly capacity: number;
  used: number;
}

/** What one run has of the devices. */
export interface DeviceGrant {
  readonly devices: GrantedDevices;
  readonly shares: readonly { readonly device: Device; readonly units: number }[];
}

/**
 * The devices of a worker, and which of them are granted. Whole devices are the free ones that come
 * first. A share of a device is on one device, the fullest that has room for it: so that others stay
 * whole. An amount of 1.5 is a whole device and a share of another.
 */
export class DevicePool {
  readonly #resources = new Map<string, readonly Device[]>();

  constructor(resources: readonly DeviceResource[]) {
    for (const { name, ids, amount } of resources) {
      const units = toUnits(amount);
      const devices = ids.map((id, index) => {
        const left = units - index * UNITS_PER_DEVICE;
        return { id, capacity: Math.max(0, Math.min(UNITS_PER_DEVICE, left)), used: 0 };
      });
      this.#resources.set(name, devices);
    }
  }

  /** Whether amounts name devices, that is, whether there is something to grant. */
  isNeededBy(amounts: ResourceAmounts): boolean {
    if (this.#resources.size === 0) return false;
    return amounts.some(([name, amount]) => this.#resources.has(name) && toUnits(amount) > 0);
  }

  /** Whether the amounts can be granted when nothing else is. */
  couldGrant(amounts: ResourceAmounts): boolean {
    return this.#choose(amounts, () => 0) !== null;
  }

  /** Whether the amounts can be granted now. */
  canGrant(amounts: ResourceAmounts): boolean {
    return this.#choose(amounts, ({ used }) => used) !== null;
  }

  /** Grants devices; null where they are not free. */
  grant(amounts: ResourceAmounts): DeviceGrant | null {
    const grant = this.#choose(amounts, ({ used }) => used);
    for (const { device, units } of grant?.shares ?? []) device.used += units;
    return grant;
  }

  giveBack({ shares }: DeviceGrant): void {
    for (const { device, units } of shares) device.used -= units;
  }

  /** For checks. */
  *values(): Iterable<Device> {
    for (const devices of this.#resources.values()) yield* devices;
  }

  #choose(amounts: ResourceAmounts, usedOf: (device: Device) => number): DeviceGrant | null {
    const granted: (readonly [name: string, ids: readonly string[]])[] = [];
    const shares: { device: Device; units: number }[] = [];
    for (const [name, amount] of amounts) {
      const devices = this.#resources.get(name);
      const units = toUnits(amount);
      if (devices === undefined || units === 0) continue;
      const chosen = choose(devices, units, usedOf);
      if (chosen === null) return null;
      granted.push([name, devices.filter((device) => chosen.has(device)).map(({ id }) => id)]);
      for (const [device, share] of chosen) shares.push({ device, units: share });
    }
    return { devices: granted, shares };
  }
}

/**
 * Checks that devices are granted to these runs and nobody else, none of them more than it has.
 *
 * @throws FarmError `ERR_INTERNAL` naming the first device of which that does not hold.
 */
export function checkDevices(pool: DevicePool, grants: Iterable<DeviceGrant>): void {
  const used = new Map<Device, number>();
  for (const { shares } of grants) {
    for (const { device, units } of shares) {
      invariant(units > 0 && units <= UNITS_PER_DEVICE, `a share of ${device.id} is ${units}`);
      used.set(device, (used.get(device) ?? 0) + units);
    }
  }
  for (const device of pool.values()) {
    const sum = used.get(device) ?? 0;
    const { id, capacity } = device;
    invariant(sum === device.used, `device ${id} is granted by ${sum}, counted ${device.used}`);
    invariant(sum <= capacity, `device ${id} is granted by ${sum}, it has ${capacity}`);
    used.delete(device);
  }
  invariant(used.size === 0, 'a run has devices of elsewhere');
}

function choose(
  devices: readonly Device[],
  units: number,
  usedOf: (device: Device) => number,
): ReadonlyMap<Device, number> | null {
  const chosen = new Map<Device, number>();
  const count = Math.floor(units / UNITS_PER_DEVICE);
  const whole = devices.filter((device) => device.capacity - usedOf(device) === UNITS_PER_DEVICE);
  if (whole.length < count) return null;
  for (const device of whole.slice(0, count)) chosen.set(device, UNITS_PER_DEVICE);
  const rest = units - count * UNITS_PER_DEVICE;
  if (rest === 0) return chosen;
  let best: Device | undefined;
  let bestLeft = Infinity;
  for (const device of devices) {
    const left = device.capacity - usedOf(device);
    if (left < rest || left >= bestLeft || chosen.has(device)) continue;
    best = device;
    bestLeft = left;
  }
  if (best === undefined) return null;
  return chosen.set(best, rest);
}

function toUnits(amount: number): number {
  return Math.round(amount * UNITS_PER_DEVICE);
}

/** Parts of a device, as {@link ResourceNeed.units} counts amounts: all of one is 10,000. */
const UNITS_PER_DEVICE = 10_000;

/** What one run has of one device. */
export interface DeviceShare {
  /** Its place in the worker's list. */
  readonly place: number;
  readonly units: number;
}

/** What one run has of a resource that stands for devices: whole devices first, then a share. */
export type DeviceShares = readonly DeviceShare[];

/**
 * The devices of one resource of a worker, and how much of each is granted. Whole devices are the
 * free ones that come first. A share of a device is on one device, the fullest that has room for it:
 * so that others stay whole. An amount of 1.5 is a whole device and a share of another.
 *
 * Whatever the amount, devices that are all free have it where it is no more than all of them.
 */
export class Devices {
  readonly #capacity: readonly number[];
  readonly #used: number[];

  /** @param units - Of all of them. The last device may be only a part: 1.5 is one and a half. */
  constructor(units: number) {
    this.#capacity = Array.from({ length: Math.ceil(units / UNITS_PER_DEVICE) }, (_, place) =>
      Math.min(UNITS_PER_DEVICE, units - place * UNITS_PER_DEVICE),
    );
    this.#used = this.#capacity.map(() => 0);
  }

  /** How much of each is free, in units. */
  free(): readonly number[] {
    return this.#capacity.map((_, place) => this.#free(place));
  }

  /** What would be granted now; null where that is not free. */
  choose(units: number): DeviceShares | null {
    const chosen: DeviceShare[] = [];
    let whole = Math.floor(units / UNITS_PER_DEVICE);
    for (let place = 0; whole > 0 && place < this.#capacity.length; place++) {
      if (this.#free(place) < UNITS_PER_DEVICE) continue;
      chosen.push({ place, units: UNITS_PER_DEVICE });
      whole -= 1;
    }
    if (whole > 0) return null;
    const rest = units % UNITS_PER_DEVICE;
    if (rest === 0) return chosen;
    let best = -1;
    for (let place = 0; place < this.#capacity.length; place++) {
      if (this.#free(place) < rest || chosen.some((share) => share.place === place)) continue;
      if (best < 0 || this.#free(place) < this.#free(best)) best = place;
    }
    if (best < 0) return null;
    chosen.push({ place: best, units: rest });
    return chosen;
  }

  take(shares: DeviceShares): void {
    for (const { place, units } of shares) this.#used[place] = (this.#used[place] ?? 0) + units;
  }

  giveBack(shares: DeviceShares): void {
    for (const { place, units } of shares) this.#used[place] = (this.#used[place] ?? 0) - units;
  }

  #free(place: number): number {
    return (this.#capacity[place] ?? 0) - (this.#used[place] ?? 0);
  }
}

import type { Run } from '@farm/protocol/core';

import { check } from '../failure.ts';
import type { TaskSpec } from '../oracle.ts';

/** The resource that stands for devices. */
export const DEVICES = 'GPU';

/** How much of the devices a task asks for. */
export function devicesAskedFor({ options }: TaskSpec): number {
  return options.resources.find(([name]) => name === DEVICES)?.[1] ?? 0;
}

/** The devices that one of the runs of a message is granted. */
export function placesOf({ resources, devices }: Run, index: number): readonly number[] {
  const at = resources.findIndex(([name]) => name === DEVICES);
  return devices?.[index]?.[at] ?? [];
}

/** What the scheduler has granted of a worker's devices: to each as many as it asks for. */
export function checkDevices(
  worker: string,
  count: number,
  grants: readonly (readonly [amount: number, places: readonly number[]])[],
): void {
  const used = new Map<number, number>();
  for (const [amount, places] of grants) {
    const isWhole = new Set(places).size === places.length && places.length === Math.ceil(amount);
    check(isWhole, 'capacity', `${worker}: ${places.join()} are granted for ${amount} ${DEVICES}`);
    // The share comes last.
    for (const [at, place] of places.entries()) {
      used.set(place, (used.get(place) ?? 0) + Math.min(1, amount - at));
    }
  }
  for (const [place, amount] of used) {
    const isThere = place < count && amount <= 1 + 1e-9;
    check(isThere, 'capacity', `${worker}: ${amount} is granted of ${DEVICES} ${place}`);
  }
}

/** What executes on a worker: whole devices belong to one run, and shares are no more than one. */
export function checkUses(
  worker: string,
  runs: readonly (readonly [amount: number, devices: SlotDevices])[],
): void {
  const users = new Map<string, number>();
  const shares = new Map<string, number>();
  for (const [amount, devices] of runs) {
    const ids = devices.flatMap(([name, own]) => (name === DEVICES ? own : []));
    const isWhole = new Set(ids).size === Math.ceil(amount);
    check(isWhole, 'capacity', `${worker} runs with ${ids.join()} for ${amount} ${DEVICES}`);
    for (const id of ids) {
      users.set(id, (users.get(id) ?? 0) + (Number.isInteger(amount) ? 1 : 0));
      if (amount < 1) shares.set(id, (shares.get(id) ?? 0) + amount);
    }
  }
  for (const [id, count] of users) {
    const share = shares.get(id) ?? 0;
    const isOwn = count === 0 || (count === 1 && share === 0);
    check(isOwn, 'capacity', `${worker} runs ${count} and ${share} on ${DEVICES} ${id}`);
    check(share <= 1 + 1e-9, 'capacity', `${worker} runs ${share} on ${DEVICES} ${id}`);
  }
}

type SlotDevices = readonly (readonly [name: string, ids: readonly string[]])[];

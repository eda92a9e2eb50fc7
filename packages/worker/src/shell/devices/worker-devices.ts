import { LIMITS } from '@farm/protocol';
import type { WorkerResources } from '@farm/protocol/command-line';

import type { DeviceResource } from '../../core/index.ts';
import type { VisibleGpus } from './visible-gpus.ts';

/** Whether a resource of this name stands for GPUs, also where its devices are not named. */
export function isGpu(name: string): boolean {
  return /^gpus?$/i.test(name);
}

/**
 * The devices of one of several workers that are started together. Those that are named are the
 * same for all; `GPU=2` is the first two of the visible ones for the first worker, and the next two
 * for the next.
 */
export function workerDevices(
  { amounts, devices }: WorkerResources,
  visible: number | null,
  worker: number = 0,
): readonly DeviceResource[] {
  const named = new Map(devices);
  return amounts.flatMap(([name, amount]) => {
    const own = named.get(name);
    if (own !== undefined) return [{ name, ids: own, amount }];
    // More of it is an amount of something else.
    if (!isGpu(name) || amount <= 0 || amount > LIMITS.devicesMax) return [];
    const count = Math.ceil(amount);
    // Workers with a share of a device have one together, as many as fit.
    const first = amount < 1 ? Math.floor(worker / Math.floor(1 / amount)) : worker * count;
    const ids = Array.from({ length: count }, (_, index) => {
      const id = first + index;
      return String(visible === null || count > visible ? id : id % visible);
    });
    return [{ name, ids, amount }];
  });
}

/** Sentences about GPUs that were promised and are not there, or are promised twice. */
export function deviceWarnings(
  { amounts, devices }: WorkerResources,
  gpus: VisibleGpus,
  workers: number,
): readonly string[] {
  const warnings: string[] = [];
  for (const [name, ids] of devices) {
    if (workers === 1) continue;
    warnings.push(
      `${name}=[${ids.join(',')}]: ${workers} workers grant the same devices, each on its own`,
    );
  }
  const { count, listed, variable } = gpus;
  if (count === null) return warnings;
  const named = new Map(devices);
  const where = listed === null ? 'on this machine' : `in ${variable}=${listed.join(',')}`;
  for (const [name, amount] of amounts) {
    if (!isGpu(name)) continue;
    const own = named.get(name);
    const all = amount * (own === undefined ? workers : 1);
    if (all > count) {
      const each = own === undefined && workers > 1 ? ` for each of ${workers} workers` : '';
      const end = count === 0 ? '' : ': they will share';
      warnings.push(`${name}=${amount}${each}, and ${visibleText(count)} ${where}${end}`);
    }
    const missing = own?.filter((id) => /^\d+$/.test(id) && Number(id) >= count) ?? [];
    if (missing.length > 0) {
      warnings.push(
        `${name}: there is no device ${missing.join(', ')}, ${visibleText(count)} ${where}`,
      );
    }
  }
  return warnings;
}

function visibleText(count: number): string {
  if (count === 0) return 'no GPU is visible';
  return count === 1 ? '1 GPU is visible' : `${count} GPUs are visible`;
}

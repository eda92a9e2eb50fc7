/** What tasks need of workers: interned, so that there is one queue for each distinct need. */
import type { ResourceAmounts, TaskOptions } from '@farm/protocol/core';

import { ReadyQueue } from './ready-queue.ts';
import { AMOUNT_MAX, fromUnits, toUnits } from './resources.ts';
import type { ResourceNeed } from './resources.ts';
import type { Requirement, WorkerState } from './state.ts';
import type { Tables } from './tables.ts';

/** The resource that counts slots. */
const THREADS = 'threads';

/** What the options of a block ask for, understood. */
interface Need {
  readonly threads: number;
  readonly needs: readonly ResourceNeed[];
}

/**
 * The requirement of a block with these options, the same object for the same need.
 *
 * @returns a sentence where the amounts make no sense.
 */
export function internRequirement(
  tables: Tables,
  options: Pick<TaskOptions, 'resources' | 'workers' | 'allowOtherWorkers'>,
): Requirement | string {
  const { resources, workers, allowOtherWorkers } = options;
  const isAny = resources.length === 0 && workers.length === 0;
  const need = isAny ? { threads: 1, needs: [] } : understand(resources);
  if (typeof need === 'string') return need;
  const names = [...new Set(workers)].toSorted();
  const isLoose = names.length > 0 && allowOtherWorkers;
  const id = isAny ? '' : JSON.stringify([need.threads, need.needs, names, isLoose]);
  const known = tables.requirements.get(id);
  if (known !== undefined) return known;
  const requirement: Requirement = {
    id,
    threads: need.threads,
    needs: need.needs,
    granted: need.needs.map(({ name, units }) => [name, fromUnits(units)] as const),
    workers: names,
    isLoose,
    isPlain: need.threads === 1 && need.needs.length === 0,
    fits: new Set(),
    slots: 0,
    preferred: new Set(),
    queue: new ReadyQueue(tables.sharedLane),
    ready: 0,
    users: 0,
    isFresh: false,
    blockedSinceMs: null,
    isHeldUpTold: false,
    reserved: null,
    reservedAtMs: 0,
  };
  for (const worker of tables.accepting) matchWorker(requirement, worker);
  tables.requirements.set(id, requirement);
  return requirement;
}

/** Forgets a requirement that nobody names. */
export function forgetRequirement(tables: Tables, requirement: Requirement): void {
  // That of plain tasks stays: it is needed again at once, and finding its workers takes a while.
  if (requirement.users === 0 && requirement.id !== '') {
    tables.requirements.delete(requirement.id);
  }
}

/** Adds a worker to those a requirement fits, if it does. Tells whether it was the first. */
export function matchWorker(requirement: Requirement, worker: WorkerState): boolean {
  const { fits, preferred, isLoose } = requirement;
  if (!hasCapacity(requirement, worker)) return false;
  const isNamed = isNamedBy(requirement, worker);
  if (!isNamed && !isLoose) return false;
  if (isNamed && isLoose) preferred.add(worker);
  if (!fits.has(worker)) requirement.slots += worker.nthreads;
  fits.add(worker);
  return fits.size === 1;
}

/** Takes a worker out of those a requirement fits. Tells whether it was the last. */
export function unmatchWorker(requirement: Requirement, worker: WorkerState): boolean {
  requirement.preferred.delete(worker);
  if (requirement.reserved === worker) requirement.reserved = null;
  if (!requirement.fits.delete(worker)) return false;
  requirement.slots -= worker.nthreads;
  return requirement.fits.size === 0;
}

/** Whether the worker, when empty, has all the requirement asks for. */
export function hasCapacity(
  requirement: Pick<Requirement, 'threads' | 'needs'>,
  worker: WorkerState,
): boolean {
  return requirement.threads <= worker.nthreads && worker.pool.couldHold(requirement.needs);
}

/** Whether a task may run on the worker, and could where that is empty. */
export function canRunOn(
  requirement: Pick<Requirement, 'threads' | 'needs' | 'workers' | 'isLoose'>,
  worker: WorkerState,
): boolean {
  return (
    hasCapacity(requirement, worker) && (requirement.isLoose || isNamedBy(requirement, worker))
  );
}

/** Whether the restriction names the worker: by name, address or host; without one, it does. */
export function isNamedBy(
  { workers }: Pick<Requirement, 'workers'>,
  { hello }: WorkerState,
): boolean {
  if (workers.length === 0) return true;
  return workers.some(
    (wanted) => wanted === hello.name || wanted === hello.host || isAddress(wanted, hello.address),
  );
}

/** Whether a worker is kept clear for a task that found no room. */
export function isReserved({ requirements }: Tables, worker: WorkerState): boolean {
  for (const { reserved } of requirements.values()) if (reserved === worker) return true;
  return false;
}

/** `host:port` names what `tcp://host:port` does. */
function isAddress(wanted: string, address: string | null): boolean {
  if (address === null) return false;
  return wanted === address || wanted === address.slice(address.indexOf('://') + 3);
}

function understand(resources: ResourceAmounts): Need | string {
  const sums = new Map<string, number>();
  for (const [name, amount] of resources) {
    const units = toUnits(amount);
    if (units === null) {
      return `resource ${JSON.stringify(name)} is ${amount}: give a number from 0 to ${AMOUNT_MAX}`;
    }
    sums.set(name, (sums.get(name) ?? 0) + units);
  }
  const threads = fromUnits(sums.get(THREADS) ?? toUnits(1) ?? 1);
  if (!Number.isInteger(threads) || threads < 1) {
    return `${threads} threads are asked for: give a whole number from 1`;
  }
  sums.delete(THREADS);
  const needs = [...sums]
    .map(([name, units]) => ({ name, units }))
    .filter(({ units }) => units > 0)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
  return { threads, needs };
}

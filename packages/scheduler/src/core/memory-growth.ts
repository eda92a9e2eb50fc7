/**
 * Tasks that ask for more memory after they took all they had asked for, where their submitter wants
 * that. Such a task has a requirement of its own from then on, as long as it is known: computed
 * again it would take as much again.
 */
import type { Failure } from '@farm/protocol/core';

import { canRunOn, forgetRequirement, internRequirement } from './requirements.ts';
import { fromUnits } from './resources.ts';
import { requirementOf } from './state.ts';
import type { Requirement, TaskState, Trouble } from './state.ts';
import type { Tables } from './tables.ts';

/** The resource that counts memory, in bytes. */
const MEMORY = 'memory';

/** Whether a run failed by something that more memory may help against, and its task may grow. */
export function mayGrow({ block }: TaskState, { code }: Failure): boolean {
  return block.growMemory !== null && code === 'ERR_MEMORY_LIMIT';
}

/**
 * Has a task ask for more memory: by its factor, and for no more than the largest worker has that it
 * could run on.
 *
 * @returns what it asked for and asks for, in words; null where no worker has more than it asked for.
 */
export function growMemory(tables: Tables, task: TaskState, trouble: Trouble): string | null {
  const before = requirementOf(task);
  const asked = before.needs.find(({ name }) => name === MEMORY)?.units;
  const factor = task.block.growMemory;
  if (asked === undefined || factor === null) return null;
  const units = Math.min(Math.ceil(asked * factor), mostMemory(tables, before));
  if (units <= asked) return null;
  const grown = internRequirement(tables, {
    resources: [
      ['threads', before.threads],
      ...before.granted.filter(([name]) => name !== MEMORY),
      // As the submitter would have asked for: a worker holds it to whole bytes.
      [MEMORY, Math.floor(fromUnits(units))],
    ],
    workers: before.workers,
    allowOtherWorkers: before.isLoose,
  });
  if (typeof grown === 'string' || grown === before) return null;
  ownRequirement(tables, trouble, grown);
  return `${mebibytes(units)} of memory instead of ${mebibytes(asked)}`;
}

/** The task asks for what its block does, as before it grew. */
export function shrinkMemory(tables: Tables, { trouble }: TaskState): void {
  if (trouble !== null && trouble.requirement !== null) ownRequirement(tables, trouble, null);
}

function ownRequirement(tables: Tables, trouble: Trouble, grown: Requirement | null): void {
  const { requirement: before } = trouble;
  if (grown !== null) grown.users += 1;
  trouble.requirement = grown;
  if (before === null) return;
  before.users -= 1;
  forgetRequirement(tables, before);
}

/** The most that a worker has which stays, and has all else the requirement asks for. */
function mostMemory(tables: Tables, requirement: Requirement): number {
  const others = requirement.needs.filter(({ name }) => name !== MEMORY);
  let most = 0;
  for (const worker of tables.workers.values()) {
    if (worker.isLeaving || !canRunOn({ ...requirement, needs: others }, worker)) continue;
    most = Math.max(most, worker.pool.capacity(MEMORY));
  }
  return most;
}

function mebibytes(units: number): string {
  return `${Math.round(fromUnits(units) / 2 ** 20)} MiB`;
}

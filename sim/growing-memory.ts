/** Tasks that say how much memory they need, and some that need more than they said. */
import { taskOptions } from '@farm/protocol/core';
import type { ResourceAmounts } from '@farm/protocol/core';

import { AMOUNT_MAX } from '../packages/scheduler/src/core/resources.ts';
import { mix, Random } from './prng.ts';
import type { ClientOp, TaskPlan, WorkerPlan } from './scenario.ts';

/** Tasks ask for memory, take more, and ask for more then, or fail. */
export const GROWTH_FEATURE = 'growing-memory';

/** The resource that counts it. */
export const MEMORY = 'memory';

/** Memory of a worker without a limit: as much as anybody can ask for. */
export function memoryOf({ memoryLimitBytes }: Pick<WorkerPlan, 'memoryLimitBytes'>): number {
  return memoryLimitBytes ?? AMOUNT_MAX;
}

/** What a run was granted, or what is asked for; 0 where that is nothing. */
export function grantedMemory(resources: ResourceAmounts): number {
  return resources.find(([name]) => name === MEMORY)?.[1] ?? 0;
}

/** In some seeds some tasks say how much memory they need, and some of these need more. */
export function withGrowingMemory(
  seed: number,
  workers: readonly WorkerPlan[],
  ops: readonly ClientOp[],
): readonly ClientOp[] {
  const random = new Random(mix(seed, 'growing-memory'));
  const limits = workers.flatMap(({ memoryLimitBytes }) => memoryLimitBytes ?? []);
  const least = limits.length === 0 ? AMOUNT_MAX : Math.min(...limits);
  return ops.map((op) => {
    const { action } = op;
    if (action.kind !== 'submit' || random.chance(0.5)) return op;
    const bytes = Math.ceil(least * random.pick([0.02, 0.1, 0.3, 0.6, 1]));
    const growMemory = random.pick([null, 1.5, 2, 2, 10]);
    const resources = [...action.options.resources, [MEMORY, bytes] as const];
    const options = taskOptions({ ...action.options, resources, growMemory });
    const tasks = action.tasks.map((task): TaskPlan => {
      if (task.behaviour.kind !== 'returns' || random.chance(0.7)) return task;
      const needed = bytes * random.pick([0.5, 1.2, 3, 15, Infinity]);
      return { ...task, behaviour: { kind: 'hungry', bytes: needed } };
    });
    return { ...op, action: { ...action, options, tasks } };
  });
}

import type { Failure } from '@farm/protocol/core';

import type { TaskCgroup } from '../../task-memory/cgroups/task-cgroup.ts';
import type { TaskCgroups } from '../../task-memory/cgroups/task-cgroups.ts';
import { memoryExceeded } from '../../task-memory/memory-exceeded.ts';
import { type ExecutorRun, memoryAskedFor } from '../executor.ts';

/** What {@link runInCgroup} is to know. */
export interface CgroupOptions {
  /** Undefined where there are none. */
  readonly cgroups: TaskCgroups | undefined;
  readonly workerName: string;
  /** Called when the kernel has killed in its group: stops what is left of the command. */
  readonly exceeded: (why: Failure) => void;
}

/** Runs a command in a control group where it asks for memory: what the kernel kills there is stopped. */
export async function runInCgroup<Result>(
  { run: id, key, resources }: ExecutorRun,
  { cgroups, workerName, exceeded }: CgroupOptions,
  run: (cgroup: TaskCgroup | undefined) => Promise<Result>,
): Promise<Result> {
  const limitBytes = memoryAskedFor(resources);
  if (limitBytes === undefined || cgroups === undefined) return run(undefined);
  const cgroup = cgroups.begin(id, limitBytes);
  try {
    const result = await run(cgroup);
    if (cgroup?.wasExceeded === true) {
      // Whatever it did then, it did without what was killed.
      exceeded(memoryExceeded({ key, workerName, limitBytes, peakBytes: cgroup.chargedBytesMax }));
      cgroup.kill();
    }
    return result;
  } finally {
    cgroups.ended(id);
  }
}

/** The production cores, or copies of them with a planted bug. */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

import type * as SchedulerModule from '../packages/scheduler/src/core/index.ts';
import type * as StoryModule from '../packages/scheduler/src/core/story.ts';
import type * as WorkerModule from '../packages/worker/src/core/index.ts';

/** What the simulator hosts. */
export interface Cores {
  readonly SchedulerCore: typeof SchedulerModule.SchedulerCore;
  readonly WorkerCore: typeof WorkerModule.WorkerCore;
  /** Every change of a task's state goes through its `add`, where coverage is measured. */
  readonly Story: typeof StoryModule.Story;
}

/** Folder of the repository. */
export const ROOT: string = join(import.meta.dirname, '..');

/** Where the cores are, below the folder that is given to {@link loadCores}. */
export const CORE_FOLDERS: Readonly<Record<'scheduler' | 'worker', string>> = {
  scheduler: 'packages/scheduler/src/core',
  worker: 'packages/worker/src/core',
};

/** Loads the cores of the repository, or of a copy elsewhere. */
export async function loadCores(root: string = ROOT): Promise<Cores> {
  const load = async (path: string): Promise<unknown> => {
    return import(pathToFileURL(join(root, path)).href);
  };
  // SAFE: these files are, or are copies of, the ones whose types are named.
  const scheduler = (await load(`${CORE_FOLDERS.scheduler}/index.ts`)) as typeof SchedulerModule;
  const worker = (await load(`${CORE_FOLDERS.worker}/index.ts`)) as typeof WorkerModule;
  const story = (await load(`${CORE_FOLDERS.scheduler}/story.ts`)) as typeof StoryModule;
  return {
    SchedulerCore: scheduler.SchedulerCore,
    WorkerCore: worker.WorkerCore,
    Story: story.Story,
  };
}

import { createLogger, watchParent } from '@farm/protocol';

import { Nanny } from './nanny/nanny.ts';
import { onLeaveSignals } from './leave-signals.ts';
import type { WorkerPlan } from './options.ts';

/** Runs the workers of a plan. Resolves with the exit code when all have ended. */
export async function runWorkers(plan: WorkerPlan): Promise<number> {
  const { workers, isNannied, warnings } = plan;
  const logger = createLogger({ name: isNannied ? 'farm.nanny' : 'farm.worker' });
  for (const warning of warnings) logger.warn(warning);
  const [first, ...others] = workers;
  if (first !== undefined && others.length === 0 && !isNannied) {
    const { runWorker } = await import('./run-worker.ts');
    return runWorker(first);
  }
  const nannies = workers.map((worker) => new Nanny({ worker, isRestarting: isNannied, logger }));
  const stop = (reason: string, how: 'drain' | 'stop' = 'stop'): void => {
    for (const nanny of nannies) nanny[how](reason);
  };
  onLeaveSignals({ drain: (reason) => stop(reason, 'drain'), close: stop });
  watchParent(() => stop('lost the process that started it'));
  for (const nanny of nannies) nanny.start();
  const ends = await Promise.all(nannies.map((nanny) => nanny.ended));
  return Math.max(...ends.map(({ exitCode }) => exitCode));
}

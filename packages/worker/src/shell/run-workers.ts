import { createLogger, watchParent } from '@farm/protocol';

import { NannyPlugins } from './nanny/nanny-plugins.ts';
import { Nanny } from './nanny/nanny.ts';
import { onLeaveSignals } from './leave-signals.ts';
import {
  defaultLocalDirectory,
  prepareLocalDirectory,
  purgeLocalDirectories,
} from './local-directory.ts';
import type { WorkerPlan } from './options.ts';

/** Runs the workers of a plan. Resolves with the exit code when all have ended. */
export async function runWorkers(plan: WorkerPlan): Promise<number> {
  const { workers, isNannied, warnings } = plan;
  const logger = createLogger({ name: isNannied ? 'farm.nanny' : 'farm.worker' });
  for (const warning of warnings) logger.warn(warning);
  for (const { localDirectory } of workers) {
    // Before there are processes, which would each find the same.
    if (localDirectory !== undefined) prepareLocalDirectory(localDirectory);
  }
  const [first, ...others] = workers;
  if (first !== undefined && others.length === 0 && !isNannied) {
    const { runWorker } = await import('./run-worker.ts');
    return runWorker(first);
  }
  const nannies = workers.map((worker) => {
    const plugins = new NannyPlugins(worker, logger);
    return { plugins, nanny: new Nanny({ worker, isRestarting: isNannied, logger, plugins }) };
  });
  const stop = (reason: string, how: 'drain' | 'stop' = 'stop'): void => {
    for (const { nanny } of nannies) nanny[how](reason);
  };
  onLeaveSignals({ drain: (reason) => stop(reason, 'drain'), close: stop });
  watchParent(() => stop('lost the process that started it'));
  const ends = await Promise.all(
    nannies.map(async ({ nanny, plugins }) => {
      try {
        await plugins.preload(plan.nannyPlugins?.modules ?? [], plan.nannyPlugins?.args ?? []);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        logger.error(reason);
        return { exitCode: 1, reason };
      }
      nanny.start();
      const end = await nanny.ended;
      await plugins.close();
      return end;
    }),
  );
  // One that was killed could not remove its directory.
  for (const { localDirectory = defaultLocalDirectory() } of workers) {
    purgeLocalDirectories(localDirectory);
  }
  return Math.max(...ends.map(({ exitCode }) => exitCode));
}

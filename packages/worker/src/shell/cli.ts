import { keepHugePagesToSelf } from '@farm/protocol/huge-pages';

import { runWorkerProgram } from './options.ts';

/**
 * Runs `farm-worker`, and ends this process with its exit code.
 *
 * @param argv - Arguments without node and script.
 */
export async function main(argv: readonly string[]): Promise<void> {
  keepHugePagesToSelf();
  await runWorkerProgram(
    async (plan) => {
      // Loaded here, so that help and usage errors answer at once.
      const { runWorkers } = await import('./run-workers.ts');
      process.exit(await runWorkers(plan));
    },
    { argv },
  );
}

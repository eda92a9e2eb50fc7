import { runSchedulerProgram } from './options.ts';

/**
 * Runs `farm-scheduler`.
 *
 * @param argv - Arguments without node and script.
 */
export async function main(argv: readonly string[]): Promise<void> {
  await runSchedulerProgram(argv, async (flags) => {
    // Loaded here, so that help and usage errors answer at once.
    const { runScheduler } = await import('./run-scheduler.ts');
    return runScheduler(flags);
  });
}

import { createLogger, LIMITS } from '@farm/protocol';

import { leaveInOrder } from './leave-in-order.ts';
import type { LeavingOptions } from './lifetime.ts';
import { giveLifeSigns } from './nanny/life-sign.ts';
import type { WorkerOptions } from './worker-options.ts';
import { defaultWorkerName, EXIT_BROKEN, Worker } from './worker.ts';

/**
 * After the worker was asked to end it may take this long to hand back its work. Plugins have their
 * own time, after that.
 */
const CLOSE_MS = 10_000;

/**
 * Runs a worker as this process: log, signals, the parent's end. Resolves with the exit code once
 * the worker has ended.
 */
export async function runWorker(
  options: Omit<WorkerOptions, 'logger' | 'output'> & LeavingOptions,
): Promise<number> {
  const { name = defaultWorkerName() } = options;
  const logger = createLogger({ name: `farm.worker.${name}` });
  const worker = new Worker({ ...options, name, logger });
  const broken = (error: unknown): void => {
    logger.error('a bug of farm, please report it', { error });
    process.exit(EXIT_BROKEN);
  };
  process.on('uncaughtException', broken);
  const close = (reason: string): void => {
    void worker.close(reason);
    const giveUp = (): void => {
      logger.warn('closing took too long');
      process.exit(1);
    };
    setTimeout(() => {
      if (!worker.isTearingDown) giveUp();
      setTimeout(giveUp, LIMITS.pluginTeardownMs).unref();
    }, CLOSE_MS).unref();
  };
  leaveInOrder(worker, { ...options, logger, close });
  // How it ends is told by `ended`, for every way it can end.
  worker.start().catch(() => {});
  giveLifeSigns();
  const { exitCode, reason } = await worker.ended;
  logger[exitCode === 0 ? 'info' : 'error'](`worker ${name} ended: ${reason}`);
  return exitCode;
}

import { watchParent, type Logger } from '@farm/protocol';

import { onLeaveSignals } from './leave-signals.ts';
import {
  afterLongTime,
  DRAIN_TIMEOUT_MS,
  drawLifetimeMs,
  type LeavingOptions,
} from './lifetime.ts';
import type { Worker } from './worker.ts';

/** What a nanny writes into its worker's standard input, before a reason, to have it drain. */
export const DRAIN_WORD = 'drain ';

/** What is to be done when the worker is to leave. */
export interface Leaver extends LeavingOptions {
  readonly logger: Logger;
  /** Ends the worker at once, in order. */
  readonly close: (reason: string) => void;
}

/** Has a worker leave when its nanny says so or is gone, at signals, and at the end of its lifetime. */
export function leaveInOrder(worker: Worker, leaver: Leaver): void {
  const { drainTimeoutMs = DRAIN_TIMEOUT_MS, lifetime, logger, close } = leaver;
  const drain = (reason: string): void => {
    logger.info(`draining: ${reason}`);
    worker.drain(reason);
    setTimeout(() => close(reason), drainTimeoutMs).unref();
  };
  onLeaveSignals({ drain, close });
  watchParent(
    (words) => close(words === '' ? 'the nanny is gone' : `the nanny ${words}`),
    (line) => {
      if (!line.startsWith(DRAIN_WORD)) return false;
      drain(`the nanny ${line.slice(DRAIN_WORD.length)}`);
      return true;
    },
  );
  if (lifetime === undefined) return;
  afterLongTime(drawLifetimeMs(lifetime), () => {
    logger.info('draining: the lifetime is over');
    worker.drain('the lifetime is over', lifetime.restart);
  });
}

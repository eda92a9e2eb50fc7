import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

import { FarmError } from '../core/index.ts';
import { lookAtSchedulerFile } from './scheduler-file.ts';
import type { ReadSchedulerFileOptions, SchedulerFile } from './scheduler-file.ts';

const LOOK_EVERY_MS = 100;
const TELL_EVERY_MS = 5_000;

/** Options of {@link waitForSchedulerFile}. */
export interface WaitForSchedulerFileOptions extends ReadSchedulerFileOptions {
  /** Null waits for ever. */
  readonly timeoutMs: number | null;
  readonly signal?: AbortSignal | undefined;
  /** Told at once and then every 5 s what is waited for, naming the absolute path. */
  readonly onWaiting?: (message: string) => void;
}

/**
 * Reads a scheduler file once it is there and complete: a job's scheduler often starts after its
 * clients and workers, and a network file system may show the file late.
 *
 * @throws FarmError `ERR_SCHEDULER_FILE` naming the absolute path: after `timeoutMs`, or at once
 *   for what waiting does not mend (see `readSchedulerFile`); or the signal's reason.
 */
export async function waitForSchedulerFile(
  path: string,
  options: WaitForSchedulerFileOptions,
): Promise<SchedulerFile> {
  const { timeoutMs, signal, onWaiting } = options;
  const started = performance.now();
  let tellAt = started;
  for (;;) {
    signal?.throwIfAborted();
    const found = await lookAtSchedulerFile(path, options);
    if (!(found instanceof FarmError)) return found;
    const now = performance.now();
    const leftMs = timeoutMs === null ? Infinity : timeoutMs - (now - started);
    if (leftMs <= 0) {
      throw new FarmError(
        'ERR_SCHEDULER_FILE',
        `${found.message}; waited ${timeoutMs} ms for it; is the scheduler starting, with this ` +
          'very path?',
        { cause: found },
      );
    }
    if (now >= tellAt) {
      onWaiting?.(`waiting for a scheduler to write ${resolve(path)}`);
      tellAt = now + TELL_EVERY_MS;
    }
    await delay(Math.min(LOOK_EVERY_MS, leftMs), undefined, signal === undefined ? {} : { signal });
  }
}

import {
  dial,
  FarmError,
  livenessTimes,
  reconnect,
  silentLogger,
  type Dialed,
  type DialOptions,
  type Logger,
  type WorkerHello,
} from '@farm/protocol';

import { findScheduler, type SchedulerHint, type SchedulerTarget } from './find-scheduler.ts';

/** One attempt to connect to the scheduler may take this long. */
const CONNECT_MS = 10_000;

/** A session whose socket was lost, and how to find its scheduler again. */
export interface LostSession {
  readonly hint: SchedulerHint;
  readonly hello: WorkerHello;
  readonly token: string;
  readonly connection: Dialed<'worker'>['connection'];
  /** How long it is tried. */
  readonly leaseMs: number;
  /** A scheduler that is silent for this long has lost its connection. @default the protocol's */
  readonly heartbeatTimeoutMs: number | undefined;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** Called when the session goes on; not where its scheduler was not found in time. */
  readonly onResumed: () => void;
}

/** Dials, and says where the address is known from if that fails: a file may be of long ago. */
export async function dialScheduler(
  target: SchedulerTarget,
  options: Pick<DialOptions<'worker'>, 'hello' | 'signal' | 'logger' | 'liveness' | 'resume'>,
): Promise<Dialed<'worker'>> {
  const { address, token, from } = target;
  try {
    return await dial({ ...options, address, token, role: 'worker', timeoutMs: CONNECT_MS });
  } catch (error) {
    if (!(error instanceof FarmError)) throw error;
    throw new FarmError(error.code, `${error.message} (${from})`, { cause: error });
  }
}

/** Goes on with a session whose socket was lost, while the scheduler waits for that. */
export async function resumeSession(session: LostSession): Promise<void> {
  const { hint, hello, token, connection, leaseMs, heartbeatTimeoutMs, logger } = session;
  await reconnect(connection, {
    leaseMs,
    signal: session.signal,
    dial: async (signal) => {
      const target = await findScheduler(hint, signal, silentLogger);
      if (target.token !== token) {
        throw new FarmError('ERR_CONNECTION_LOST', `another scheduler is there (${target.from})`);
      }
      await dialScheduler(target, {
        signal,
        logger,
        hello,
        resume: connection,
        ...livenessOf(heartbeatTimeoutMs),
      });
      session.onResumed();
    },
  });
}

/** For `dialScheduler`: a scheduler that is silent for this long has lost its connection. */
export function livenessOf(deadMs: number | undefined): Pick<DialOptions<'worker'>, 'liveness'> {
  return deadMs === undefined ? {} : { liveness: livenessTimes(deadMs) };
}

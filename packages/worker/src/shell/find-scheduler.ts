import {
  describeSchedulerFile,
  FarmError,
  findCredential,
  formatAddress,
  parseAddress,
  waitForSchedulerFile,
  type Address,
  type Logger,
} from '@farm/protocol';

/** The port of a scheduler's address without one. */
export const DEFAULT_SCHEDULER_PORT = 8786;

/** Where a scheduler is, and the token to show it. */
export interface SchedulerTarget {
  readonly address: Address;
  readonly token: string;
  /** Where this is known from, for messages. */
  readonly from: string;
}

/** What a worker was told of its scheduler. */
export interface SchedulerHint {
  readonly address?: string;
  readonly schedulerFile?: string;
  readonly token?: string;
}

/**
 * Finds the scheduler: from its file, which is waited for, or from an address and the token that
 * belongs to it.
 *
 * @throws FarmError `ERR_ARGUMENT` where neither or both are given, `ERR_ADDRESS`,
 * `ERR_UNAUTHORIZED` where no token is found, `ERR_SCHEDULER_FILE`; or the signal's reason.
 */
export async function findScheduler(
  hint: SchedulerHint,
  signal: AbortSignal,
  logger: Logger,
): Promise<SchedulerTarget> {
  const { address: text, schedulerFile, token } = hint;
  if ((text === undefined) === (schedulerFile === undefined)) {
    throw new FarmError(
      'ERR_ARGUMENT',
      'a worker needs a scheduler file or an address, one of them',
    );
  }
  if (schedulerFile !== undefined) {
    const file = await waitForSchedulerFile(schedulerFile, {
      role: 'worker',
      timeoutMs: null,
      signal,
      onWaiting: (message) => logger.info(message),
      onWarning: (message) => logger.warn(message),
    });
    const from = describeSchedulerFile(file, Date.now());
    return { address: file.address, token: file.token, from };
  }
  const address = parseAddress(text ?? '', { defaultPort: DEFAULT_SCHEDULER_PORT });
  return {
    address,
    token: token ?? (await findCredential(address, 'worker')),
    from: `address ${formatAddress(address)}`,
  };
}

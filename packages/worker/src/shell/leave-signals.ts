/** Equal signals that arrive together count as one: a batch system sends them to nanny and worker alike. */
const TOGETHER_MS = 500;

/** What signals ask for. */
export interface LeaveRequests {
  /** End without loss: SIGTERM. */
  readonly drain: (reason: string) => void;
  /** End at once, in order: SIGINT, or a SIGTERM while it drains. */
  readonly close: (reason: string) => void;
}

type Stage = 'running' | 'draining' | 'closing';

/**
 * Hears the signals that end a worker. SIGTERM drains it; a second one, or SIGINT, ends it at once;
 * one more ends the process with the shell's code for it. SIGHUP counts as SIGINT where the log is
 * on a terminal, and is ignored elsewhere, as under `nohup`.
 *
 * @param exit - Ends the process; tests pass their own.
 */
export function onLeaveSignals(
  requests: LeaveRequests,
  exit: (code: number) => void = (code) => process.exit(code),
): void {
  let stage: Stage = 'running';
  let last: NodeJS.Signals | undefined;
  let lastMs = 0;
  const hear = (signal: NodeJS.Signals, number: number): void => {
    if (signal === last && performance.now() - lastMs < TOGETHER_MS) return;
    last = signal;
    lastMs = performance.now();
    const reason = `received ${signal}`;
    if (stage === 'running' && signal === 'SIGTERM') {
      stage = 'draining';
      requests.drain(reason);
    } else if (stage !== 'closing') {
      stage = 'closing';
      requests.close(reason);
    } else {
      exit(128 + number);
    }
  };
  process.on('SIGINT', () => hear('SIGINT', 2));
  process.on('SIGTERM', () => hear('SIGTERM', 15));
  process.on('SIGHUP', () => {
    if (process.stderr.isTTY) hear('SIGHUP', 1);
  });
}

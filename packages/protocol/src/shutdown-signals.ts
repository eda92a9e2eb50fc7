/**
 * Calls `onSignal` for the first SIGINT or SIGTERM, and for a SIGHUP of a process whose log is on
 * a terminal. A later SIGINT or SIGTERM ends the process at once with the shell's code for it.
 *
 * Under `nohup`, or with the log in a file, SIGHUP is ignored: the process outlives the shell that
 * started it. (Node resets the ignored SIGHUP that nohup sets up, so it has to be handled here.)
 */
export function onShutdownSignal(onSignal: (signal: NodeJS.Signals) => void): void {
  let asked = false;
  const handle = (signal: NodeJS.Signals, number: number): void => {
    if (asked) process.exit(128 + number);
    asked = true;
    onSignal(signal);
  };
  process.on('SIGINT', () => handle('SIGINT', 2));
  process.on('SIGTERM', () => handle('SIGTERM', 15));
  process.on('SIGHUP', () => {
    if (process.stderr.isTTY) handle('SIGHUP', 1);
  });
}

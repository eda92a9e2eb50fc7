import type { CommandResult } from '@farm/protocol';

/** One command, from its start until nothing of it is left. */
export interface RunningCommand {
  /**
   * Runs the command to its end. A command that was stopped ends like any other, but everything
   * in its process group is gone by then.
   *
   * @param onStart - called when it has been started
   * @throws FarmError `ERR_SPAWN` where it cannot be started
   */
  run(onStart: () => void): Promise<CommandResult>;
  /** Asks the whole process group to end, and kills what is left of it after the grace period. */
  stop(): void;
}

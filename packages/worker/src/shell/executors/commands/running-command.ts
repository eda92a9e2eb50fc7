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

/** Takes the output of one command that is streamed. */
export interface OutputSink {
  /** @returns false where the caller is to wait for `drained` before it reads on */
  write(stream: 'stdout' | 'stderr', chunk: Uint8Array): boolean;
  /** Resolves when more can be taken. */
  drained(): Promise<void>;
  /**
   * Resolves when all of it is in its file.
   *
   * @throws FarmError `ERR_STAGE` where it could not be written
   */
  finish(): Promise<void>;
}

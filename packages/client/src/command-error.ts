import { type CommandResult, FarmError, type FarmErrorOptions } from '@farm/protocol';

/**
 * A command ended with an exit code that is not accepted, or by a signal. Has what the
 * {@link CommandResult} would have had.
 *
 * @example
 * try { await client.submit(command('make')).result(); }
 * catch (error) { if (error instanceof CommandError) console.error(error.exitCode, error.stderr); }
 */
export class CommandError extends FarmError implements CommandResult {
  readonly exitCode: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly durationMs: number;

  constructor(message: string, result: CommandResult, options: FarmErrorOptions = {}) {
    super('ERR_COMMAND', message, options);
    this.name = 'CommandError';
    this.exitCode = result.exitCode;
    this.signal = result.signal;
    this.stdout = result.stdout;
    this.stderr = result.stderr;
    this.durationMs = result.durationMs;
  }
}

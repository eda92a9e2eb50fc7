import { FarmError } from '../core/errors.ts';

/** A command line that is not valid. The program prints the message as one line and exits with 2. */
export class UsageError extends FarmError {
  /** The exit code of the program: 2, as shells and getopt have it. */
  readonly exitCode = 2;

  constructor(message: string, options: ErrorOptions = {}) {
    super('ERR_ARGUMENT', message, options);
    this.name = 'UsageError';
  }
}

/** Not a failure: the user asked for `--help` or `--version`, and `text` answers. */
export class HelpRequested extends Error {
  /** What to print on standard output, with its last line end. */
  readonly text: string;

  constructor(text: string) {
    super('help requested');
    this.name = 'HelpRequested';
    this.text = text;
  }
}

import { FarmError } from '../core/errors.ts';
import { oneLine } from '../quote.ts';
import type { Environment, OptionSpecs, ParsedCommandLine, PositionalSpec } from './definition.ts';
import type { Program } from './program.ts';
import { HelpRequested, UsageError } from './usage-error.ts';

/** What a program touches outside itself; tests pass their own. */
export interface ProgramHost {
  /** @default process.argv without node and script */
  readonly argv: readonly string[];
  /** @default process.env */
  readonly env: Environment;
  /** Prints on standard output; resolves when written. */
  readonly print: (text: string) => Promise<void>;
  /** Prints on standard error; resolves when written. */
  readonly printError: (text: string) => Promise<void>;
  /** Ends the process. @default process.exit */
  readonly exit: (code: number) => void;
}

/**
 * Runs a program's `main` with its parsed command line, and gives every outcome its exit code:
 * a UsageError is one line and 2, another FarmError one line and 1, anything else is a bug and
 * comes with its stack and 1; `--help` and `--version` are 0. A `main` that returns a number sets
 * the exit code; one that returns leaves what is still open to end by itself, one that throws
 * does not: the process is ended at once.
 *
 * Import what the program runs on inside `main`, so that help and usage errors answer at once.
 *
 * @example
 * await runProgram(program, async ({ options }) => {
 *   const { startScheduler } = await import('./scheduler.ts');
 *   await startScheduler(options);
 * });
 */
export async function runProgram<
  Options extends OptionSpecs,
  Positional extends PositionalSpec | undefined,
>(
  program: Program<Options, Positional>,
  main: (
    parsed: ParsedCommandLine<Options, Positional>,
  ) => void | number | Promise<void> | Promise<number> | Promise<void | number>,
  host: Partial<ProgramHost> = {},
): Promise<void> {
  const { argv = process.argv.slice(2), env = process.env } = host;
  const { print = writerTo(process.stdout), printError = writerTo(process.stderr) } = host;
  const { exit = (code: number) => process.exit(code) } = host;
  try {
    const exitCode = await main(program.parse(argv, env));
    if (typeof exitCode === 'number') process.exitCode = exitCode;
  } catch (error) {
    if (error instanceof HelpRequested) {
      await print(error.text);
      exit(0);
    } else {
      await printError(`${program.name}: ${failureText(error)}\n`);
      exit(error instanceof UsageError ? error.exitCode : 1);
    }
  }
}

function failureText(error: unknown): string {
  if (error instanceof FarmError && error.code !== 'ERR_INTERNAL') return oneLine(error.message);
  if (error instanceof Error) return error.stack ?? `${error.name}: ${error.message}`;
  return `thrown: ${String(error)}`;
}

function writerTo(stream: NodeJS.WriteStream): (text: string) => Promise<void> {
  // A reader that went away (`--help | head -1`, a closed terminal) is no failure of ours, and
  // must not end a program that runs on.
  stream.on('error', () => {});
  return (text) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    stream.write(text, () => resolve());
    return promise;
  };
}

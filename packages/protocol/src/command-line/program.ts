import type {
  Environment,
  OptionSpecs,
  ParsedCommandLine,
  PositionalSpec,
  ProgramDefinition,
} from './definition.ts';
import { helpText } from './help.ts';
import { parseCommandLine } from './parse-command-line.ts';

/** A program's command line, made by {@link defineProgram}. */
export interface Program<
  Options extends OptionSpecs = OptionSpecs,
  Positional extends PositionalSpec | undefined = PositionalSpec | undefined,
> {
  readonly name: string;
  readonly version: string;
  /**
   * Understands a command line. The command line wins over the environment; an environment
   * variable that is empty counts as absent.
   *
   * @param argv - The arguments alone: `process.argv.slice(2)`.
   * @throws UsageError where it is not valid; the message is one line that names the flag.
   * @throws HelpRequested for `--help` and `--version`, even where the rest is not valid.
   */
  parse(argv: readonly string[], env: Environment): ParsedCommandLine<Options, Positional>;
  /** The text of `--help`, wrapped to a number of columns (80). */
  help(columns?: number): string;
}

/**
 * Describes the command line of a program once, for parsing, help and types. Every option has a
 * twin in the environment; unknown, repeated, conflicting and malformed options are refused with
 * one line that says what is valid.
 *
 * @example
 * const program = defineProgram({
 *   name: 'farm-scheduler',
 *   summary: 'Starts a scheduler.',
 *   version: '1.0.0',
 *   envPrefix: 'FARM_SCHEDULER',
 *   options: {
 *     port: { value: 'PORT', description: 'port to listen on', parse: parsePort, default: 8786 },
 *     dashboard: { description: 'serve the dashboard', default: true },
 *   },
 * });
 * const { options } = program.parse(['--port=0', '--no-dashboard'], process.env);
 * // options: { port: number, dashboard: boolean }
 */
export function defineProgram<
  const Options extends OptionSpecs,
  const Positional extends PositionalSpec | undefined = undefined,
>(definition: ProgramDefinition<Options, Positional>): Program<Options, Positional> {
  const { name, version } = definition;
  return {
    name,
    version,
    parse: (argv, env) => parseCommandLine(definition, argv, env),
    help: (columns = 80) => helpText(definition, columns),
  };
}

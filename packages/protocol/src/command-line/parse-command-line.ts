import { CommanderError, type Command } from 'commander';

import { FarmError } from '../core/errors.ts';
import { oneLine, quote } from '../quote.ts';
import { buildCommand, helpText } from './help.ts';
import { type AnyDefinition, envName, isRepeatable, isSwitch, kebabCase } from './option-names.ts';
import type {
  Environment,
  OptionSource,
  OptionSpecs,
  OptionValues,
  ParsedCommandLine,
  PositionalSpec,
  ProgramDefinition,
} from './definition.ts';
import { DASHES, suggestOption } from './suggestion.ts';
import { HelpRequested, UsageError } from './usage-error.ts';

/** One option as given: its text, and what to call it in a message. */
interface Given {
  readonly text: string;
  /** Of an option that was given several times: those before. */
  readonly earlier?: Given;
  readonly source: OptionSource;
  readonly label: string;
}

/** The `parse` of a program: see {@link Program.parse}. */
export function parseCommandLine<
  Options extends OptionSpecs,
  Positional extends PositionalSpec | undefined,
>(
  definition: ProgramDefinition<Options, Positional>,
  argv: readonly string[],
  env: Environment,
): ParsedCommandLine<Options, Positional> {
  const given = new Map<string, Given>();
  const operands = readArguments(definition, argv, given);
  readEnvironment(definition, env, given);
  refuseConflicts(definition, given);

  const options: Record<string, unknown> = {};
  for (const [name, spec] of Object.entries(definition.options)) {
    const found = given.get(name);
    if (isRepeatable(spec)) options[name] = readList(found, spec.parse);
    else if (found === undefined) options[name] = spec.default;
    else options[name] = readValue(found, isSwitch(spec) ? parseSwitch : spec.parse);
  }
  const positional = readPositional(definition, operands, env);
  return {
    // SAFE: the loop set every name of Options to what its parse returned, or to its default.
    options: options as OptionValues<Options>,
    // SAFE: it is what Positional's parse returned, or undefined.
    positional: positional as ParsedCommandLine<Options, Positional>['positional'],
    source: (name) => given.get(name)?.source ?? 'default',
  };
}

/** Splits the arguments into options (into `given`) and operands (returned). */
function readArguments(
  definition: AnyDefinition,
  argv: readonly string[],
  given: Map<string, Given>,
): readonly string[] {
  const broken = argv.find((text) => text.includes('\ufffd'));
  if (broken !== undefined) throw new UsageError(`${quote(broken)} is not valid UTF-8`);

  const command = buildCommand(definition);
  const take = (name: string, flag: string, text: string): void => {
    const earlier = given.get(name);
    const spec = definition.options[name];
    if (earlier !== undefined && spec !== undefined && isRepeatable(spec)) {
      given.set(name, { ...earlier, text, earlier });
      return;
    }
    if (earlier !== undefined) {
      const both =
        earlier.label === flag
          ? `${flag} is given twice`
          : `${earlier.label} and ${flag} contradict each other`;
      throw new UsageError(`${both}, keep one`);
    }
    given.set(name, { text, source: 'command line', label: flag });
  };
  for (const [name, spec] of Object.entries(definition.options)) {
    const flagName = kebabCase(name);
    const flag = `--${flagName}`;
    if (isSwitch(spec)) {
      command.on(`option:${flagName}`, () => take(name, flag, 'true'));
      command.on(`option:no-${flagName}`, () => take(name, `--no-${flagName}`, 'false'));
      continue;
    }
    command.on(`option:${flagName}`, (text: string) => {
      // `--port --host h`: the value was forgotten. Written `--port=--host` it is meant.
      if (text.startsWith('--') && !argv.includes(`${flag}=${text}`)) {
        throw new UsageError(`${flag} needs a value, got the option ${shownFlag(text)}`);
      }
      if (text.trim() === '') throw new UsageError(`${flag} needs a value, got an empty one`);
      take(name, flag, text);
    });
  }

  const { operands, unknown } = parseOptions(command, argv);
  if (unknown.includes('--help') || unknown.includes('-h')) {
    throw new HelpRequested(helpText(definition));
  }
  if (command.getOptionValue('version') === true) {
    throw new HelpRequested(`${definition.name} ${definition.version}\n`);
  }
  const separator = argv.indexOf('--');
  const literal = separator === -1 ? [] : argv.slice(separator + 1);
  // A dash from a word processor is no dash to the parser; an option it begins is one all the same.
  const stray = operands.find((text) => DASHES.test(text) && !literal.includes(text));
  const first = unknown[0] ?? stray;
  if (first !== undefined) throw unknownOption(definition, first);
  return operands;
}

function parseOptions(
  command: Command,
  argv: readonly string[],
): { readonly operands: readonly string[]; readonly unknown: readonly string[] } {
  try {
    return command.parseOptions([...argv]);
  } catch (error) {
    if (error instanceof CommanderError && error.code === 'commander.optionMissingArgument') {
      throw new UsageError(`${shownFlag(argv.at(-1) ?? '')} needs a value`, { cause: error });
    }
    throw error;
  }
}

function unknownOption(definition: AnyDefinition, typed: string): UsageError {
  const flag = typed.split('=', 1)[0] ?? typed;
  const names = Object.entries(definition.options).flatMap(([name, spec]) => {
    const flagName = kebabCase(name);
    return isSwitch(spec) ? [flagName, `no-${flagName}`] : [flagName];
  });
  names.push('help', 'version');
  if (flag !== typed && flag.startsWith('--') && names.includes(flag.slice(2))) {
    return new UsageError(`${flag} takes no value`);
  }
  const suggestion = suggestOption(flag, names);
  const help =
    suggestion === undefined
      ? `; ${definition.name} --help lists the options`
      : `, did you mean --${suggestion}?`;
  return new UsageError(`unknown option ${shownFlag(flag)}${help}`);
}

function readEnvironment(
  definition: AnyDefinition,
  env: Environment,
  given: Map<string, Given>,
): void {
  for (const [name, spec] of Object.entries(definition.options)) {
    if (given.has(name)) continue;
    const variable = envName(definition, name, spec);
    const text = env[variable] ?? '';
    if (text.trim() === '' || isServiceLink(variable, env)) continue;
    given.set(name, { text, source: 'environment', label: variable });
  }
}

/**
 * For a service named farm-scheduler, Kubernetes sets FARM_SCHEDULER_PORT=tcp://10.0.0.1:8786 in
 * every container beside it, along with FARM_SCHEDULER_SERVICE_HOST. That is no setting of ours.
 */
function isServiceLink(variable: string, env: Environment): boolean {
  if (!variable.endsWith('_PORT') || !/^(?:tcp|udp|sctp):\/\//.test(env[variable] ?? ''))
    return false;
  return env[variable.replace(/_PORT$/, '_SERVICE_HOST')] !== undefined;
}

function refuseConflicts(definition: AnyDefinition, given: Map<string, Given>): void {
  for (const group of definition.conflicts ?? []) {
    for (const source of ['command line', 'environment'] as const) {
      const labels = group.flatMap((name) => {
        const found = given.get(name);
        return found?.source === source ? [found.label] : [];
      });
      if (labels.length > 1) {
        throw new UsageError(`${labels.join(' and ')} exclude each other, keep one`);
      }
    }
    // One on the command line overrules another in the environment, as it overrules its own twin.
    if (group.some((name) => given.get(name)?.source === 'command line')) {
      for (const name of group) {
        if (given.get(name)?.source === 'environment') given.delete(name);
      }
    }
  }
}

function readPositional(
  definition: AnyDefinition,
  operands: readonly string[],
  env: Environment,
): unknown {
  const { name, positional } = definition;
  const [first, second] = operands;
  if (positional === undefined) {
    if (first === undefined) return undefined;
    throw new UsageError(`unexpected argument ${quote(first)}; ${name} takes options only`);
  }
  if (second !== undefined) {
    throw new UsageError(`unexpected argument ${quote(second)} after the ${positional.value}`);
  }
  if (first !== undefined) {
    return readValue(
      { text: first, source: 'command line', label: positional.value },
      positional.parse,
    );
  }
  const text = positional.env === undefined ? '' : (env[positional.env] ?? '');
  if (positional.env === undefined || text.trim() === '') return undefined;
  return readValue({ text, source: 'environment', label: positional.env }, positional.parse);
}

function readValue(given: Given, parse: (text: string) => unknown): unknown {
  try {
    return parse(given.text);
  } catch (error) {
    if (!(error instanceof FarmError)) throw error;
    const label = given.source === 'environment' ? `${given.label} (environment)` : given.label;
    throw new UsageError(`${label}: ${oneLine(error.message)}`, { cause: error });
  }
}

/** The values of an option that may be repeated, in the order they were given. */
function readList(given: Given | undefined, parse: (text: string) => unknown): unknown[] {
  const values: unknown[] = [];
  for (let each = given; each !== undefined; each = each.earlier) {
    const { text, source } = each;
    const texts = source === 'environment' ? text.split(',').map((part) => part.trim()) : [text];
    const own = texts.filter((part) => part !== '');
    values.unshift(...own.map((part) => readValue({ ...each, text: part }, parse)));
  }
  return values;
}

function parseSwitch(text: string): boolean {
  const word = text.trim().toLowerCase();
  if (['1', 'true', 'yes', 'on'].includes(word)) return true;
  if (['0', 'false', 'no', 'off'].includes(word)) return false;
  throw new FarmError('ERR_ARGUMENT', `${quote(text)} is neither true nor false`);
}

/** A flag as typed; in quotes where spaces or controls would blur where it ends. */
function shownFlag(flag: string): string {
  return /^[\p{L}\p{N}\p{P}=]{1,80}$/u.test(flag) ? flag : quote(flag);
}

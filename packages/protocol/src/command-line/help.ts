import { Command, Option } from 'commander';

import { type AnyDefinition, envName, isSwitch, kebabCase } from './option-names.ts';
import type { SwitchOption, ValueOption } from './definition.ts';

/** The text of `--help`: usage, options with defaults and environment twins, examples. */
export function helpText(definition: AnyDefinition, columns: number = 80): string {
  const command = buildCommand(definition);
  command.configureHelp({ ...command.configureHelp(), helpWidth: columns });
  const { examples = [] } = definition;
  const lines = examples.map((example) => `  ${example.command}\n      ${example.description}\n`);
  const tail = lines.length === 0 ? '' : `\nExamples:\n${lines.join('')}`;
  return command.helpInformation() + tail;
}

/** A fresh commander command: it keeps the state of a parse, so each parse gets its own. */
export function buildCommand(definition: AnyDefinition): Command {
  const { positional } = definition;
  const command = new Command(definition.name)
    .description(definition.summary)
    .exitOverride()
    .configureOutput({ writeOut: () => {}, writeErr: () => {} })
    .helpOption('-h, --help', 'show this text and exit');
  if (positional !== undefined) {
    const env = positional.env === undefined ? '' : ` (env: ${positional.env})`;
    command.argument(`[${positional.value}]`, positional.description + env);
  }
  for (const [name, spec] of Object.entries(definition.options)) {
    const flagName = kebabCase(name);
    const variable = envName(definition, name, spec);
    if (isSwitch(spec)) {
      command.addOption(described(`--${flagName}`, spec, variable));
      command.addOption(new Option(`--no-${flagName}`).hideHelp());
    } else {
      command.addOption(described(`--${flagName} <${spec.value}>`, spec, variable));
    }
  }
  command.addOption(new Option('--version', 'show the version and exit'));
  command.configureHelp({
    optionTerm: (option) => {
      const isPair = command.options.some((other) => other.long === `--no-${option.name()}`);
      return isPair ? `--[no-]${option.name()}` : option.flags;
    },
  });
  return command;
}

function described(flags: string, spec: ValueOption | SwitchOption, variable: string): Option {
  const option = new Option(flags, spec.description).env(variable);
  const text = 'defaultText' in spec ? spec.defaultText : undefined;
  if (text !== undefined || (spec.default ?? null) !== null) {
    // Commander shows no text for a default that is undefined. The value is read by nobody.
    option.default(spec.default ?? text, text ?? String(spec.default));
  }
  return option;
}

import type {
  OptionSpecs,
  PositionalSpec,
  ProgramDefinition,
  SwitchOption,
  ValueOption,
} from './definition.ts';

/**
 * A definition whatever its options. `Readonly` changes nothing in it, but has TypeScript compare
 * members instead of type parameters, of which `keyof` made it think they must be equal.
 */
export type AnyDefinition = Readonly<ProgramDefinition<OptionSpecs, PositionalSpec | undefined>>;

/** Whether an option is a switch (`--nanny`, `--no-nanny`) and has no value. */
export function isSwitch(spec: ValueOption | SwitchOption): spec is SwitchOption {
  return !('parse' in spec);
}

/** Whether an option may be given several times. */
export function isRepeatable(
  spec: ValueOption | SwitchOption,
): spec is ValueOption & { readonly repeatable: true } {
  return 'repeatable' in spec;
}

/** The environment variable that is an option's twin. */
export function envName(
  definition: AnyDefinition,
  name: string,
  spec: ValueOption | SwitchOption,
): string {
  return (
    spec.env ?? `${definition.envPrefix}_${kebabCase(name).replaceAll('-', '_').toUpperCase()}`
  );
}

/** The name of an option on the command line: `schedulerFile` is `scheduler-file`. */
export function kebabCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

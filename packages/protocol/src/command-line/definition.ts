/** The environment a program reads: `process.env`. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** An option with a value: `--port 8786`, `--port=8786`. */
export interface ValueOption {
  /** Stands for the value in the help, for example `PORT`. */
  readonly value: string;
  readonly description: string;
  /** Reads the value. A FarmError it throws is reported with the flag's name in front. */
  readonly parse: (text: string) => unknown;
  /**
   * What the option is where neither the command line nor the environment has it.
   * @default undefined
   */
  readonly default?: unknown;
  /** The default as the help shows it, where the value itself does not read well. */
  readonly defaultText?: string;
  /** The environment variable. @default the program's prefix and the option's name */
  readonly env?: string;
  /**
   * Whether it may be given several times: its value is a list, empty where it is not given. The
   * environment variable separates several by commas. Excludes `default`.
   */
  readonly repeatable?: true;
}

/** An option that is on or off: `--nanny`, `--no-nanny`. */
export interface SwitchOption {
  readonly description: string;
  readonly default: boolean;
  /** The environment variable. @default the program's prefix and the option's name */
  readonly env?: string;
}

/** The options of a program by camel-case name: `schedulerFile` is `--scheduler-file`. */
export type OptionSpecs = Readonly<Record<string, ValueOption | SwitchOption>>;

/** The argument without a flag, for example the scheduler's address. It may be left out. */
export interface PositionalSpec {
  /** Stands for the argument in the help, for example `ADDRESS`. */
  readonly value: string;
  readonly description: string;
  readonly parse: (text: string) => unknown;
  /** The environment variable that gives the argument where the command line has none. */
  readonly env?: string;
}

/** What `defineProgram` needs to know. */
export interface ProgramDefinition<
  Options extends OptionSpecs,
  Positional extends PositionalSpec | undefined = undefined,
> {
  /** As the user types it: `farm-worker`. */
  readonly name: string;
  /** One or two sentences at the head of the help. */
  readonly summary: string;
  readonly version: string;
  /** Begins the environment variables: with `FARM_WORKER`, `--port` is `FARM_WORKER_PORT`. */
  readonly envPrefix: string;
  readonly options: Options;
  readonly positional?: Positional | undefined;
  /** Command lines for the help, each with what it does. */
  readonly examples?: readonly { readonly command: string; readonly description: string }[];
  /** Options that exclude each other, by name: giving two of a list is a UsageError. */
  readonly conflicts?: readonly (readonly (keyof Options & string)[])[];
}

/** The values of the options, each with the type its `parse` returns or its default has. */
export type OptionValues<Options extends OptionSpecs> = {
  readonly [Name in keyof Options]: Options[Name] extends {
    readonly parse: (text: string) => infer Value;
    readonly repeatable: true;
  }
    ? readonly Value[]
    : Options[Name] extends { readonly parse: (text: string) => infer Value }
      ? Value | (Options[Name] extends { readonly default: infer Default } ? Default : undefined)
      : boolean;
};

/** Where a value came from. */
export type OptionSource = 'command line' | 'environment' | 'default';

/** A command line that was understood. */
export interface ParsedCommandLine<
  Options extends OptionSpecs,
  Positional extends PositionalSpec | undefined,
> {
  readonly options: OptionValues<Options>;
  /** The argument without a flag; undefined where there is none. */
  readonly positional: Positional extends { readonly parse: (text: string) => infer Value }
    ? Value | undefined
    : undefined;
  /** Where the value of an option came from. */
  source(name: keyof Options & string): OptionSource;
}

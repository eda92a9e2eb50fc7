import { siteVariables } from './site-setup.ts';

/** What a worker's site adds to every command it runs. */
export interface CommandSite {
  /**
   * The worker's local directory: commands that stage get theirs in it.
   * @default one for this process in the system's temporary directory
   */
  readonly directory?: string;
  /** Goes before every command, and before the command's own prefix. @default none */
  readonly prefix?: readonly string[];
  /** Variables that a setup script changed; undefined where it removed one. @default none */
  readonly variables?: Readonly<Record<string, string | undefined>>;
  /** Where the output of commands is streamed to. @default farm-output in the worker's directory */
  readonly outputDirectory?: string;
}

/** What a worker is told about its commands. */
export interface CommandsOptions {
  /** Program and arguments that run every command, as in `['apptainer', 'exec', image]`. @default none */
  readonly prefix?: readonly string[];
  /** Script that a shell sources once; commands get the environment it makes. @default none */
  readonly siteSetup?: string;
  /**
   * Directory that output is streamed to; a relative one starts in the worker's.
   * @default 'farm-output'
   */
  readonly outputDirectory?: string;
}

/**
 * Makes the site of a worker with this local directory.
 *
 * @throws FarmError `ERR_ARGUMENT` where the setup script fails
 */
export async function commandSite(
  { prefix = [], siteSetup, outputDirectory }: CommandsOptions = {},
  directory: string,
): Promise<CommandSite> {
  const variables = siteSetup === undefined ? {} : await siteVariables(siteSetup, process.env);
  return {
    directory,
    prefix,
    variables,
    ...(outputDirectory === undefined ? {} : { outputDirectory }),
  };
}

import type { CommandFunction, CommandOutput, CommandText } from '@farm/protocol';
import { FarmError } from '@farm/protocol/core';
import { resolve } from 'node:path';

/** Where an output stream of a command goes. */
export type OutputTarget =
  | { readonly to: 'capture' }
  | { readonly to: 'ignore' }
  | { readonly to: 'stream' }
  | { readonly to: 'file'; readonly path: string; readonly append: boolean };

/** A command with its arguments filled in. */
export interface CommandLine {
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  /** Absolute. */
  readonly cwd: string;
  readonly env: readonly (readonly [name: string, value: string])[];
  readonly stdin: string | null;
  readonly stdout: OutputTarget;
  readonly stderr: OutputTarget;
}

/**
 * Fills the argument slots of a command. Text stays what it is, byte for byte; numbers, bigints
 * and booleans become what `String` makes of them. A relative cwd is taken from the worker's
 * directory, paths of output files from the command's cwd. What wraps it, the site's prefix and then
 * the command's, comes before it in argv.
 *
 * @throws FarmError `ERR_ARGUMENT` naming the slot, for any other kind of argument
 */
export function commandLine(
  spec: CommandFunction,
  args: readonly unknown[],
  workerCwd: string,
  sitePrefix: readonly string[] = [],
): CommandLine {
  const text = (part: CommandText, place: string): string => fillText(spec.name, part, args, place);
  const cwd = spec.cwd === null ? workerCwd : resolve(workerCwd, text(spec.cwd, 'its cwd'));
  const output = (to: CommandOutput, place: string): OutputTarget =>
    to.to === 'file'
      ? { to: 'file', path: resolve(cwd, text(to.path, place)), append: to.append }
      : to;
  const prefix = (spec.prefix ?? []).map((part, index) => text(part, `prefix[${index}]`));
  const program = text(spec.file, 'its program');
  const own = spec.args.map((part, index) => text(part, `position ${index} of its argv`));
  const [file = program, ...argv] = [...sitePrefix, ...prefix, program, ...own];
  return {
    name: spec.name,
    file,
    args: argv,
    cwd,
    env: spec.env.map(([name, value]) => [name, text(value, `its variable ${name}`)] as const),
    stdin: spec.stdin === null ? null : text(spec.stdin, 'its stdin'),
    stdout: output(spec.stdout, 'the path of its stdout'),
    stderr: output(spec.stderr, 'the path of its stderr'),
  };
}

/**
 * Fills the argument slots of one text.
 *
 * @param literal - what becomes of the text around them
 * @throws FarmError `ERR_ARGUMENT` naming the slot
 */
export function fillText(
  name: string,
  text: CommandText,
  args: readonly unknown[],
  place: string,
  literal: (part: string) => string = (part) => part,
): string {
  if (typeof text === 'string') return literal(text);
  if ('arg' in text) return argumentText(name, text.arg, args, place);
  return text
    .map((part) =>
      typeof part === 'string' ? literal(part) : argumentText(name, part.arg, args, place),
    )
    .join('');
}

function argumentText(
  name: string,
  index: number,
  args: readonly unknown[],
  place: string,
): string {
  const value = args[index];
  switch (typeof value) {
    case 'string':
      return value;
    case 'number':
    case 'bigint':
    case 'boolean':
      return String(value);
    default:
      throw new FarmError(
        'ERR_ARGUMENT',
        index < args.length
          ? `command ${name}: arg(${index}), in ${place}, is ${kindOf(value)}; ` +
              'a command takes text, numbers, bigints and booleans'
          : `command ${name}: arg(${index}), in ${place}, is not there: ` +
              `the task has ${args.length} argument${args.length === 1 ? '' : 's'}`,
      );
  }
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (value === undefined) return 'undefined';
  if (value instanceof Uint8Array) return 'bytes';
  return Array.isArray(value) ? 'an array' : 'an object';
}

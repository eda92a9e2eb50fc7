import {
  type ArgumentSlot,
  type CommandFunction,
  type CommandOutput,
  type CommandResult,
  type CommandText,
} from '@farm/protocol';

import { checkText, refusal } from './command-text.ts';
import { type StageOptions, toStage } from './command-stage.ts';
import { shortName } from './functions/source-function.ts';
import { checkOptionNames } from './option-names.ts';

/**
 * Where an output stream of a command goes: `'capture'` brings it back in the result, `'stream'`
 * appends it to the one file of its worker (`farm-output` splits those again), `'ignore'` drops it;
 * any other text, and `{ file }`, is a path on the worker.
 */
export type OutputTarget = CommandText | { readonly file: CommandText; readonly append?: boolean };

/** Options of {@link command}. Texts may hold {@link arg} and {@link text}. */
export interface CommandOptions {
  /**
   * Directory to run in.
   * @default the worker's own
   */
  readonly cwd?: CommandText;
  /** Variables set on top of the worker's environment. */
  readonly env?: Readonly<Record<string, CommandText>>;
  /**
   * Text for standard input.
   * @default nothing: it is closed
   */
  readonly stdin?: CommandText;
  /** @default 'capture' */
  readonly stdout?: OutputTarget;
  /** @default 'capture' */
  readonly stderr?: OutputTarget;
  /**
   * Exit codes that are a success.
   * @default [0]
   */
  readonly acceptExitCodes?: readonly number[];
  /**
   * Captured output beyond this is dropped from its middle, bytes per stream.
   * @default 1_048_576
   */
  readonly captureBytesMax?: number;
  /**
   * Program and arguments that run the command, as in `['apptainer', 'exec', image]`. Comes after
   * the worker's own `--command-prefix`.
   * @default none
   */
  readonly prefix?: readonly CommandText[];
  /**
   * Gives each attempt a directory of its own, to run in, with files brought and taken.
   * @default none
   */
  readonly stage?: StageOptions;
  /**
   * Name for keys and messages.
   * @default the program's name without its directory
   */
  readonly name?: string;
}

const CAPTURE_BYTES_DEFAULT = 1_048_576;
const OPTION_NAMES: Readonly<Record<keyof CommandOptions, true>> = {
  cwd: true,
  env: true,
  stdin: true,
  stdout: true,
  stderr: true,
  acceptExitCodes: true,
  captureBytesMax: true,
  prefix: true,
  stage: true,
  name: true,
};

/**
 * A program to run as a task: made by {@link command}, submitted like a function. Its result is a
 * {@link CommandResult}; an exit code that is not accepted, or a signal, is a `CommandError`.
 */
export class Command {
  /** What the workers are told. */
  readonly spec: CommandFunction;
  /** How many arguments a task of it takes: one more than the highest slot. */
  readonly arity: number;
  /** Carries the result's type; never there. */
  declare readonly result?: CommandResult;

  constructor(spec: CommandFunction) {
    this.spec = spec;
    this.arity = highestSlot(spec) + 1;
  }
}

/**
 * Describes a program to run on a worker. The argument list stays a list: no shell takes it apart.
 *
 * @param file - Program: a name looked up in the worker's PATH, or a path.
 * @throws FarmError `ERR_ARGUMENT` naming the part that is not valid.
 *
 * @example
 * const solve = command('./wrapper.sh', ['FreeFem++-nw', arg(0)], { cwd: arg(1), stdout: 'out.log' });
 * const runs = client.map(solve, files, directories);
 */
export function command(
  file: CommandText,
  args: readonly CommandText[] = [],
  options: CommandOptions = {},
): Command {
  checkOptionNames(options, OPTION_NAMES, 'command');
  if (!Array.isArray(args)) throw refusal('args', 'is not an array of texts');
  if (file === '') throw refusal('file', 'is empty; name a program');
  const { captureBytesMax = CAPTURE_BYTES_DEFAULT, acceptExitCodes = [0] } = options;
  if (!Number.isSafeInteger(captureBytesMax) || captureBytesMax < 0) {
    throw refusal('captureBytesMax', `is not a whole number of bytes: ${String(captureBytesMax)}`);
  }
  for (const code of acceptExitCodes) {
    if (Number.isInteger(code) && code >= 0 && code <= 255) continue;
    throw refusal('acceptExitCodes', `has ${String(code)}, which is not an exit code, 0 to 255`);
  }
  return new Command({
    kind: 'command',
    name: options.name === undefined ? programName(file) : shortName(options.name, 'command'),
    file: checkText(file, 'file'),
    args: args.map((item: CommandText, index) => checkText(item, `args[${index}]`)),
    cwd: options.cwd === undefined ? null : checkText(options.cwd, 'cwd'),
    env: Object.entries(options.env ?? {}).map(
      ([name, value]) => [checkVariable(name), checkText(value, `env.${name}`)] as const,
    ),
    stdin: options.stdin === undefined ? null : checkText(options.stdin, 'stdin', true),
    stdout: toOutput(options.stdout ?? 'capture', 'stdout'),
    stderr: toOutput(options.stderr ?? 'capture', 'stderr'),
    acceptExitCodes: [...acceptExitCodes],
    captureBytesMax,
    ...(options.prefix === undefined ? {} : { prefix: toPrefix(options.prefix) }),
    ...(options.stage === undefined ? {} : { stage: toStage(options.stage) }),
  });
}

/**
 * Writes text around argument slots.
 *
 * @example
 * command('solver', [arg(0)], { stdout: text`run-${arg(0)}.log` });
 */
export function text(
  parts: TemplateStringsArray,
  ...slots: readonly (ArgumentSlot | string | number)[]
): CommandText {
  const items: (string | ArgumentSlot)[] = [];
  parts.forEach((part, index) => {
    if (part !== '') items.push(part);
    const slot = slots[index];
    if (slot !== undefined) items.push(typeof slot === 'number' ? String(slot) : slot);
  });
  return items;
}

function toPrefix(prefix: readonly CommandText[]): readonly CommandText[] {
  if (!Array.isArray(prefix)) throw refusal('prefix', 'is not an array of texts');
  return prefix.map((item: CommandText, index) => checkText(item, `prefix[${index}]`));
}

function toOutput(target: OutputTarget, stream: string): CommandOutput {
  if (target === 'capture' || target === 'stream' || target === 'ignore') return { to: target };
  if (typeof target === 'object' && 'file' in target) {
    const { file, append = false } = target;
    return { to: 'file', path: checkText(file, `${stream}.file`), append };
  }
  if (target === '') throw refusal(stream, "is an empty path; write 'ignore' to drop the output");
  return { to: 'file', path: checkText(target, stream), append: false };
}

function checkVariable(name: string): string {
  if (name !== '' && !/[=\0]/.test(name)) return name;
  throw refusal('env', `has ${JSON.stringify(name)}, which cannot name a variable`);
}

function programName(file: CommandText): string {
  if (typeof file !== 'string') return 'command';
  return shortName(file.slice(file.lastIndexOf('/') + 1), 'command');
}

function highestSlot(spec: CommandFunction): number {
  const { stage, prefix = [] } = spec;
  const brought = stage?.in.flatMap(({ from, to }) => [from, to ?? '']) ?? [];
  const taken = stage?.out.flatMap(({ from, to }) => [from, to]) ?? [];
  const staged = [stage?.directory ?? '', ...brought, ...taken];
  const outputs = [spec.stdout, spec.stderr].map((out) => (out.to === 'file' ? out.path : ''));
  const env = spec.env.map(([, value]) => value);
  const texts = [
    spec.file,
    ...spec.args,
    spec.cwd ?? '',
    spec.stdin ?? '',
    ...env,
    ...outputs,
    ...prefix,
    ...staged,
  ];
  const slots = texts.flat().map((item) => (typeof item === 'string' ? -1 : item.arg));
  return slots.reduce((highest, slot) => Math.max(highest, slot), -1);
}

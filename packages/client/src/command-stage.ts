import type { CommandStage, CommandText, StageIn, StageOut } from '@farm/protocol';

import { checkText, refusal } from './command-text.ts';
import { checkOptionNames } from './option-names.ts';

/**
 * A directory that each attempt of a command has for itself. It is made below the worker's local
 * directory, is where the command runs, and is in its environment as `FARM_DIRECTORY`.
 */
export interface StageOptions {
  /**
   * Files and trees to be brought before the command starts: their paths, or objects. Relative ones
   * start in the worker's directory. Modes are kept; a link that is named is followed, links inside
   * trees stay links.
   */
  readonly in?: readonly (CommandText | StageInOptions)[];
  /** What is taken out when the command has ended well; each is whole under its name or not there. */
  readonly out?: readonly StageOutOptions[];
  /**
   * When the directory is removed. One that is kept is moved to `kept-tasks` beside the worker's
   * local directory; the error's message, or the result's `directory`, says where it is.
   * @default 'on-success'
   */
  readonly remove?: CommandStage['remove'];
  /**
   * Where the directory is made instead, on the worker; it is kept in there, too.
   * @default below the worker's local directory
   */
  readonly directory?: CommandText;
}

/** One file or tree to be brought. */
export interface StageInOptions {
  readonly from: CommandText;
  /**
   * Its path inside the command's directory.
   * @default the last part of `from`
   */
  readonly to?: CommandText;
  /**
   * Whether a symbolic link to it is enough.
   * @default false
   */
  readonly link?: boolean;
}

/** Files or trees to be taken. */
export interface StageOutOptions {
  /** Glob pattern inside the command's directory, such as `*.dat`. */
  readonly from: CommandText;
  /**
   * Where to, on the worker: a path that ends in `/` is a directory that matches go into under their
   * own names. In its own text, not in arguments, `{key}`, `{index}` (the task's number in its map),
   * `{attempt}`, `{worker}`, `{name}`, `{stem}` and `{ext}` (of the match) are filled in.
   */
  readonly to: CommandText;
  /**
   * Whether it is well when nothing matches.
   * @default false: the task fails
   */
  readonly optional?: boolean;
}

const STAGE_NAMES = { in: true, out: true, remove: true, directory: true } as const;
const IN_NAMES = { from: true, to: true, link: true } as const;
const OUT_NAMES = { from: true, to: true, optional: true } as const;

/**
 * Checks what a command stages.
 *
 * @throws FarmError `ERR_ARGUMENT` naming the part that is not valid
 */
export function toStage(stage: StageOptions): CommandStage {
  checkOptionNames(stage, STAGE_NAMES, 'command: stage');
  const { in: inputs = [], out = [], remove = 'on-success', directory } = stage;
  if (remove !== 'always' && remove !== 'on-success' && remove !== 'never') {
    throw refusal('stage.remove', `is not 'always', 'on-success' or 'never': ${String(remove)}`);
  }
  return {
    directory: directory === undefined ? null : checkText(directory, 'stage.directory'),
    in: inputs.map((item, index) => toStageIn(item, `stage.in[${index}]`)),
    out: out.map((item, index) => toStageOut(item, `stage.out[${index}]`)),
    remove,
  };
}

function toStageIn(item: CommandText | StageInOptions, what: string): StageIn {
  if (typeof item !== 'object' || !('from' in item)) {
    return { from: checkText(item, what), to: null, link: false };
  }
  checkOptionNames(item, IN_NAMES, `command: ${what}`);
  return {
    from: checkText(item.from, `${what}.from`),
    to: item.to === undefined ? null : checkText(item.to, `${what}.to`),
    link: item.link === true,
  };
}

function toStageOut(item: StageOutOptions, what: string): StageOut {
  checkOptionNames(item, OUT_NAMES, `command: ${what}`);
  return {
    from: checkText(item.from, `${what}.from`),
    to: checkText(item.to, `${what}.to`),
    optional: item.optional === true,
  };
}

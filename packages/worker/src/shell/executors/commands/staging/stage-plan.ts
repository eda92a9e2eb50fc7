import type { CommandStage, CommandText } from '@farm/protocol';
import { FarmError } from '@farm/protocol/core';
import { basename, isAbsolute, normalize, resolve } from 'node:path';

import { fillText } from '../command-line.ts';

/** What one attempt of a command brings and takes, with its arguments filled in. */
export interface StagePlan {
  /** Name of the command, for messages. */
  readonly command: string;
  /** Absolute; null means below the worker's local directory. */
  readonly directory: string | null;
  readonly in: readonly PlannedIn[];
  readonly out: readonly PlannedOut[];
  readonly remove: CommandStage['remove'];
}

/** A file or tree to be brought. */
export interface PlannedIn {
  /** Absolute. */
  readonly from: string;
  /** Relative, inside the command's directory. */
  readonly to: string;
  readonly link: boolean;
}

/** Files or trees to be taken. */
export interface PlannedOut {
  /** Relative, inside the command's directory. */
  readonly pattern: string;
  /** Absolute; ends in `/` where it names a directory; `{name}`, `{stem}`, `{ext}` are the match's. */
  readonly to: string;
  readonly optional: boolean;
}

/** The attempt that placeholders of templates tell of. */
export interface StagedAttempt {
  readonly key: string;
  readonly attempt: number;
  readonly workerName: string;
}

/**
 * Fills in what a command stages. Sources and destinations that are relative start in the worker's
 * directory; what is named inside the command's directory has to stay there.
 *
 * @throws FarmError `ERR_ARGUMENT` for an argument that is not there or is no text, a path or
 * pattern that leaves the directory, or `{index}` for a task whose key has none
 */
export function stagePlan(
  command: string,
  stage: CommandStage,
  args: readonly unknown[],
  workerCwd: string,
  attempt: StagedAttempt,
): StagePlan {
  const text = (part: CommandText, place: string): string => {
    const filled = fillText(command, part, args, place, (literal) =>
      placeholders(command, literal, attempt),
    );
    if (filled !== '' && !filled.includes('\0')) return filled;
    throw new FarmError('ERR_ARGUMENT', `command ${command}: ${place} is empty or has a NUL`);
  };
  return {
    command,
    directory:
      stage.directory === null
        ? null
        : resolve(workerCwd, text(stage.directory, 'the directory of its stage')),
    in: stage.in.map(({ from, to, link }, index) => {
      const source = resolve(workerCwd, text(from, `the source of stage.in[${index}]`));
      const place = `stage.in[${index}].to`;
      return {
        from: source,
        to: inside(command, to === null ? basename(source) : text(to, place), place),
        link,
      };
    }),
    out: stage.out.map(({ from, to, optional }, index) => {
      const place = `stage.out[${index}].from`;
      const target = text(to, `the destination of stage.out[${index}]`);
      return {
        pattern: inside(command, text(from, place), place),
        to: resolve(workerCwd, target) + (target.endsWith('/') ? '/' : ''),
        optional,
      };
    }),
    remove: stage.remove,
  };
}

/** A path inside the command's directory. */
function inside(command: string, path: string, place: string): string {
  const normal = normalize(path);
  if (!isAbsolute(path) && !path.split('/').includes('..')) return normal;
  throw new FarmError(
    'ERR_ARGUMENT',
    `command ${command}: ${place}, ${JSON.stringify(path)}, leaves the command's directory`,
  );
}

function placeholders(command: string, literal: string, attempt: StagedAttempt): string {
  return literal.replaceAll(/\{(key|index|attempt|worker)\}/g, (_all, name: string) => {
    if (name === 'key') return attempt.key.replaceAll('/', '_');
    if (name === 'attempt') return String(attempt.attempt);
    if (name === 'worker') return attempt.workerName.replaceAll('/', '_');
    const index = /-(\d+)$/.exec(attempt.key)?.[1];
    if (index !== undefined) return index;
    throw new FarmError(
      'ERR_ARGUMENT',
      `command ${command}: {index} is the number a task has in its map; ${attempt.key} has none`,
    );
  });
}

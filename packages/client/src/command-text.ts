import { type ArgumentSlot, type CommandText, FarmError } from '@farm/protocol';

/**
 * Stands for argument `index` of a task in a command's texts: a string, number, boolean or bigint,
 * which becomes text as with `String`, or a future of one. Anything else fails the task with
 * `ERR_ARGUMENT`.
 *
 * @throws FarmError `ERR_ARGUMENT` where the index is not a whole number from 0 on.
 *
 * @example
 * client.map(command('gzip', ['-k', arg(0)]), ['a.txt', 'b.txt']);
 */
export function arg(index: number): ArgumentSlot {
  if (Number.isInteger(index) && index >= 0 && index < SLOTS_MAX) return { arg: index };
  throw refusal('arg', `takes the index of an argument, 0 to ${SLOTS_MAX - 1}: ${String(index)}`);
}

const SLOTS_MAX = 1_000;

/**
 * Checks one text of a command.
 *
 * @throws FarmError `ERR_ARGUMENT` naming `what`
 */
export function checkText(value: CommandText, what: string, isNulAllowed = false): CommandText {
  if (typeof value === 'string') {
    if (value.includes('\0') && !isNulAllowed) throw refusal(what, 'has a NUL character');
    return value;
  }
  if (isSlot(value)) return { arg: arg(value.arg).arg };
  if (!Array.isArray(value)) {
    throw refusal(what, `is not text, arg(i) or text\`…\`: ${describe(value)}`);
  }
  return value.map((item: string | ArgumentSlot, index) => {
    const checked = checkText(item, `${what}[${index}]`, isNulAllowed);
    // SAFE: what is no array stays none.
    return checked as string | ArgumentSlot;
  });
}

/** Whether a value stands for an argument. */
export function isSlot(value: unknown): value is ArgumentSlot {
  return typeof value === 'object' && value !== null && 'arg' in value;
}

/** The error for a part of a command that is not valid. */
export function refusal(what: string, problem: string): FarmError {
  return new FarmError('ERR_ARGUMENT', `command: ${what} ${problem}`);
}

function describe(value: unknown): string {
  return value === null ? 'null' : typeof value === 'object' ? 'an object' : `a ${typeof value}`;
}

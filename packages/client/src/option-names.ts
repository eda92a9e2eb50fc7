import { FarmError } from '@farm/protocol';

/**
 * Refuses options that do not exist, so that a misspelt one is not silently without effect.
 *
 * @param known - Every option there is, as the keys of an object.
 * @param of - What the options belong to, for the message.
 * @throws FarmError `ERR_ARGUMENT` naming the option and the one that may have been meant.
 */
export function checkOptionNames(
  options: object,
  known: Readonly<Record<string, true>>,
  of: string,
): void {
  if (typeof options !== 'object' || options === null) {
    throw new FarmError('ERR_ARGUMENT', `${of}: the options are not an object`);
  }
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(known, name)) continue;
    const names = Object.keys(known);
    const near = nearest(name, names);
    const help = near === undefined ? `there are ${names.join(', ')}` : `did you mean ${near}?`;
    throw new FarmError(
      'ERR_ARGUMENT',
      `${of}: there is no option ${JSON.stringify(name)}; ${help}`,
    );
  }
}

function nearest(name: string, names: readonly string[]): string | undefined {
  const word = plain(name);
  return (
    names.find((known) => plain(known) === word) ??
    names.find((known) => plain(known).startsWith(word) || word.startsWith(plain(known))) ??
    names.find((known) => differsLittle(plain(known), word))
  );
}

/** Dask writes `allow_other_workers` where we write `allowOtherWorkers`. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[-_]/g, '');
}

/** Whether one letter dropped from each makes the words equal: a typing error. */
function differsLittle(one: string, other: string): boolean {
  const shortened = (word: string): readonly string[] =>
    Array.from({ length: word.length }, (_, at) => word.slice(0, at) + word.slice(at + 1));
  const others = new Set([other, ...shortened(other)]);
  return [one, ...shortened(one)].some((variant) => others.has(variant));
}

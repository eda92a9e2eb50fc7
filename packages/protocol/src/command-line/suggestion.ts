/** More edits than this and a word is another word. */
const DISTANCE_MAX = 3;

/** What Dask calls, or called, options of ours. */
const DASK_NAMES: ReadonlyMap<string, string> = new Map([
  ['nprocs', 'nworkers'],
  ['nprocesses', 'nworkers'],
  ['n-workers', 'nworkers'],
  ['ncores', 'nthreads'],
  ['bokeh', 'dashboard'],
  ['no-bokeh', 'no-dashboard'],
  ['bokeh-port', 'dashboard-address'],
]);

/** Hyphens and dashes, also those that word processors put in place of `--`. */
export const DASHES: RegExp = /^[-\u2010-\u2015\u2212]+/;

/**
 * Finds the option that a mistyped one most likely meant: by the name it has in Dask, by edit
 * distance or as its beginning.
 *
 * @param typed - The option as typed, with its dashes.
 * @param names - The names of the options there are, without dashes.
 * @returns The name, or undefined where none is near or two are equally near.
 *
 * @example
 * suggestOption('---interface', ['interface', 'port']); // 'interface'
 */
export function suggestOption(typed: string, names: readonly string[]): string | undefined {
  const word = typed.replace(DASHES, '').toLowerCase().replaceAll('_', '-');
  if (word === '') return undefined;
  if (names.includes(word)) return word;
  const renamed = DASK_NAMES.get(word);
  if (renamed !== undefined && names.includes(renamed)) return renamed;
  const begun = names.filter((name) => name.startsWith(word));
  if (begun.length === 1 && word.length > 1) return begun[0];
  let best: string | undefined;
  let bestDistance = DISTANCE_MAX + 1;
  for (const name of names) {
    const distance = editDistance(word, name);
    const isNear = distance < Math.max(word.length, name.length) * 0.5;
    if (isNear && distance < bestDistance) {
      best = name;
      bestDistance = distance;
    } else if (isNear && distance === bestDistance) {
      best = undefined;
    }
  }
  return best;
}

/**
 * Insertions, deletions, substitutions and swaps of neighbours that turn one word into the other
 * (optimal string alignment distance).
 */
function editDistance(from: string, to: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= to.length; column += 1) {
      const isSame = from[row - 1] === to[column - 1];
      const isSwap = from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1];
      current[column] = Math.min(
        at(last, column) + 1,
        at(current, column - 1) + 1,
        at(last, column - 1) + (isSame ? 0 : 1),
        row > 1 && column > 1 && isSwap ? at(beforeLast, column - 2) + 1 : Infinity,
      );
    }
    beforeLast = last;
    last = current;
  }
  return at(last, to.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Infinity;
}

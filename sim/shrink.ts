/** Makes a failing scenario smaller: what can be left out while it still fails is left out. */
import { partsOf, without } from './scenario.ts';
import type { Scenario } from './scenario.ts';

/** A part of a scenario that is enough to fail. */
export interface Shrunk {
  /** Ids of the parts that are left out. */
  readonly left: ReadonlySet<string>;
  /** How many parts are still there. */
  readonly parts: number;
  /** Runs it took. */
  readonly runs: number;
}

/**
 * Leaves out ever smaller groups of parts, as long as the rest still fails: delta debugging
 * (Zeller and Hildebrandt 2002), greedy and without its complements.
 *
 * @param fails - Whether a scenario fails the same way.
 */
export function shrink(
  scenario: Scenario,
  fails: (smaller: Scenario) => boolean,
  runsMax = 400,
): Shrunk {
  const left = new Set<string>();
  let runs = 0;
  let kept = [...partsOf(scenario)];
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < kept.length && runs < runsMax;) {
      const group = kept.slice(at, at + size);
      runs += 1;
      if (fails(without(scenario, new Set([...left, ...group])))) {
        for (const id of group) left.add(id);
        kept = kept.filter((id) => !left.has(id));
      } else at += size;
    }
  }
  return { left, parts: kept.length, runs };
}

/** Ids as text for a command line: `o3-9,f1`. */
export function formatParts(ids: Iterable<string>): string {
  const numbers = new Map<string, number[]>();
  for (const id of ids) {
    const letter = id.slice(0, 1);
    numbers.set(letter, [...(numbers.get(letter) ?? []), Number(id.slice(1))]);
  }
  const texts: string[] = [];
  for (const [letter, all] of numbers) {
    const sorted = all.toSorted((a, b) => a - b);
    for (let at = 0; at < sorted.length;) {
      const first = sorted[at] ?? 0;
      let end = at + 1;
      while (sorted[end] === first + end - at) end += 1;
      texts.push(end - at > 1 ? `${letter}${first}-${first + end - at - 1}` : `${letter}${first}`);
      at = end;
    }
  }
  return texts.join(',');
}

/**
 * Reads what {@link formatParts} writes.
 *
 * @throws RangeError where it is something else.
 */
export function parseParts(text: string): ReadonlySet<string> {
  const ids = new Set<string>();
  for (const part of text.split(',').filter((one) => one !== '')) {
    const match = /^([owf])(\d+)(?:-(\d+))?$/.exec(part);
    if (match === null)
      throw new RangeError(`"${part}" is no part of a scenario: o3, o3-9, f1, w0`);
    const [, letter = '', first = '', last = first] = match;
    for (let at = Number(first); at <= Number(last); at++) ids.add(`${letter}${at}`);
  }
  return ids;
}

import { expect, test } from 'vitest';

import { makeScenario } from './make-scenario.ts';
import { partsOf, without } from './scenario.ts';
import { formatParts, parseParts, shrink } from './shrink.ts';

test('parts are written shortly, and read again', () => {
  const ids = ['o3', 'o5', 'o4', 'f1', 'w0', 'o9', 'f2'];
  expect(formatParts(ids)).toBe('o3-5,o9,f1-2,w0');
  expect([...parseParts('o3-5,o9,f1-2,w0')].toSorted()).toEqual(ids.toSorted());
  expect(parseParts('').size).toBe(0);
  expect(() => parseParts('x7')).toThrow('"x7" is no part of a scenario');
});

test('what a failure does not need is left out', () => {
  const scenario = makeScenario(3);
  const parts = partsOf(scenario);
  const needed = parts.filter((_, index) => index % Math.ceil(parts.length / 3) === 2);
  const shrunk = shrink(scenario, (smaller) => {
    const there = new Set<string>([
      ...smaller.ops.map(({ id }) => id),
      ...smaller.faults.map(({ id }) => id),
      ...smaller.workers.filter(({ joinAtMs }) => joinAtMs < Infinity).map(({ id }) => id),
    ]);
    return needed.every((id) => there.has(id));
  });
  expect(parts.filter((id) => !shrunk.left.has(id)).toSorted()).toEqual(needed.toSorted());
});

test('without some submissions, other tasks do without theirs', () => {
  const scenario = makeScenario(3);
  const submits = scenario.ops.filter(({ action }) => action.kind === 'submit');
  const left = new Set(submits.slice(0, submits.length / 2).map(({ id }) => id));
  const smaller = without(scenario, left);
  const known = new Set<number>();
  for (const { action } of smaller.ops) {
    if ('tasks' in action) for (const { ref } of action.tasks) known.add(ref);
  }
  for (const { action } of smaller.ops) {
    if (action.kind !== 'submit') continue;
    for (const { deps } of action.tasks) for (const ref of deps) expect(known).toContain(ref);
  }
});

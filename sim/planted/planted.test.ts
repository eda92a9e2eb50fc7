import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { expect, test } from 'vitest';

import { CORE_FOLDERS, loadCores, ROOT } from '../cores.ts';
import { makeScenario, SMALL } from '../make-scenario.ts';
import { runScenario } from '../run.ts';
import { without } from '../scenario.ts';
import { shrink } from '../shrink.ts';
import { PLANTED_BUGS } from './bugs.ts';
import { hunt } from './hunt.ts';
import { plant, plantInto } from './plant.ts';

const LIMITS = { seeds: 200, ms: Infinity, firstSeed: 1 };

function named(name: string): (typeof PLANTED_BUGS)[number] {
  const bug = PLANTED_BUGS.find((one) => one.name === name);
  if (bug === undefined) throw new Error(`no planted bug is called ${name}`);
  return bug;
}

test('every planted bug has its place in the cores', () => {
  for (const bug of PLANTED_BUGS) {
    const text = readFileSync(join(ROOT, CORE_FOLDERS[bug.core], bug.file), 'utf8');
    expect(plantInto(text, bug)).not.toBe(text);
  }
  expect(new Set(PLANTED_BUGS.map(({ name }) => name)).size).toBe(PLANTED_BUGS.length);
});

test('a bug whose place is gone is refused, by name', () => {
  expect(() => plantInto('nothing like it', named('run-id-used-twice'))).toThrow(
    'planted bug run-id-used-twice: scheduler core, workload.ts has its text 0 times',
  );
});

test.each([
  ['given-up-run-counts', 'core'],
  ['one-retry-too-many', 'assignments'],
  ['restriction-ignored', 'core'],
  ['input-dropped-in-use', 'core'],
])('%s is found, by the checker of %s', async (name, checker) => {
  const { found } = await hunt(named(name), LIMITS, SMALL, () => 0);
  expect(found).toMatchObject({ checker });
});

test('a failure is shrunk to what it needs, and fails the same way', async () => {
  using copy = plant(named('one-retry-too-many'));
  const cores = await loadCores(copy.root);
  const seeds = Array.from({ length: 50 }, (_, index) => index + 1);
  const seed = seeds.find((one) => runScenario(makeScenario(one, SMALL), cores).failure !== null);
  const scenario = makeScenario(seed ?? 0, SMALL);
  const shrunk = shrink(scenario, (smaller) => {
    return runScenario(smaller, cores).failure?.checker === 'assignments';
  });
  expect(shrunk.parts).toBeLessThan(8);
  const { failure } = runScenario(without(scenario, shrunk.left), cores);
  expect(failure?.checker).toBe('assignments');
});

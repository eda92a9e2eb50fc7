import { expect, test } from 'vitest';

import { mix, Random } from './prng.ts';

test('the same seed gives the same numbers, another seed others', () => {
  const draw = (seed: number): number[] => {
    const random = new Random(seed);
    return Array.from({ length: 20 }, () => random.next());
  };
  expect(draw(7)).toEqual(draw(7));
  expect(draw(7)).not.toEqual(draw(8));
});

test('streams by name are independent, in whatever order their parts are', () => {
  expect(mix(1, 'a')).toBe(mix(1, 'a'));
  const all = [mix(1, 'a'), mix(1, 'b'), mix(2, 'a'), mix('a', 1), mix(1), mix(1.5), mix(2 ** 40)];
  expect(new Set(all).size).toBe(all.length);
});

test('numbers are spread evenly', () => {
  const random = new Random(1);
  const counts = Array.from({ length: 10 }, () => 0);
  for (let i = 0; i < 10_000; i++) {
    const at = random.below(10);
    counts[at] = (counts[at] ?? 0) + 1;
  }
  for (const count of counts) {
    expect(count).toBeGreaterThan(850);
    expect(count).toBeLessThan(1_150);
  }
});

test('ranges and choices keep to their bounds', () => {
  const random = new Random(2);
  for (let i = 0; i < 1_000; i++) {
    const spread = random.spread(0.1, 1_000);
    expect(spread).toBeGreaterThanOrEqual(0.1);
    expect(spread).toBeLessThan(1_000);
    expect(['x', 'y']).toContain(random.pick(['x', 'y']));
  }
  expect(random.chance(0)).toBe(false);
  expect(random.chance(1)).toBe(true);
  expect(random.some([1, 2, 3], 1)).toEqual([1, 2, 3]);
  expect(() => random.pick([])).toThrow(RangeError);
});

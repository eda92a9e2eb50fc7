import { expect, test } from 'vitest';

import { Clock } from './clock.ts';
import { Random } from './prng.ts';

test('things happen in order of time, and of request where that is the same', () => {
  const clock = new Clock();
  const random = new Random(1);
  const happened: { readonly atMs: number; readonly order: number }[] = [];
  for (let order = 0; order < 500; order++) {
    const atMs = random.below(50);
    clock.at(atMs, () => {
      expect(clock.nowMs).toBe(atMs);
      happened.push({ atMs, order });
    });
  }
  while (clock.step());
  expect(happened).toHaveLength(500);
  expect(happened).toEqual(happened.toSorted((a, b) => a.atMs - b.atMs || a.order - b.order));
});

test('what was taken back does not happen', () => {
  const clock = new Clock();
  const happened: string[] = [];
  const timer = clock.after(1, () => happened.push('taken back'));
  clock.after(2, () => happened.push('kept'));
  clock.cancel(timer);
  while (clock.step());
  expect(happened).toEqual(['kept']);
});

test('time runs up to a moment, and what comes later waits', () => {
  const clock = new Clock();
  const happened: string[] = [];
  clock.at(1, () => {
    happened.push('first');
    clock.after(1, () => happened.push('second'));
    clock.cancel(clock.after(2, () => happened.push('taken back')));
  });
  clock.at(5, () => happened.push('later'));
  let steps = 0;
  clock.runUntil(4, () => {
    steps += 1;
  });
  expect({ happened, steps, nowMs: clock.nowMs }).toEqual({
    happened: ['first', 'second'],
    steps: 2,
    nowMs: 4,
  });
});

test('what is to happen in the past happens now', () => {
  const clock = new Clock();
  const times: number[] = [];
  clock.at(10, () => clock.at(3, () => times.push(clock.nowMs)));
  while (clock.step());
  expect(times).toEqual([10]);
  expect(clock.step()).toBe(false);
});

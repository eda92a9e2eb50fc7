import { describe, expect, test } from 'vitest';

import { cancelled, Harness } from './executor-harness.ts';

describe('a slot for functions and commands', () => {
  test('is at one of them at a time, in the order they were given', async () => {
    await using harness = new Harness();
    const spin = harness.source((ms: number) => {
      const t = performance.now();
      while (performance.now() - t < ms);
    });
    const sleep = harness.command({ file: 'sleep', args: ['0.05'] });
    const runs = [
      harness.start(spin, [30]),
      harness.start(sleep),
      harness.start(sleep),
      harness.start(spin, [1]),
      harness.start(sleep),
    ];
    const seen: number[] = [];
    await harness.until(() => {
      seen.push(harness.executor.executing().length);
      return harness.order.length === runs.length;
    }, 'all to end');
    expect(harness.order).toEqual(runs);
    expect(Math.max(...seen)).toBe(1);
  });

  test('slots do not wait for each other', async () => {
    await using harness = new Harness({ slots: 3 });
    const wait = harness.source(() => new Promise(() => {}));
    const sleep = harness.command({ file: 'sleep', args: ['1000'] });
    const one = harness.start(wait, [], { slot: 0 });
    const two = harness.start(sleep, [], { slot: 1 });
    const three = harness.start(
      harness.source(() => 3),
      [],
      { slot: 2 },
    );
    await harness.end(three);
    await harness.executing(one);
    await harness.executing(two);
    expect(harness.executor.executing().toSorted((a, b) => a - b)).toEqual([one, two]);
    expect(harness.executor.interrupt(1, one, cancelled())).toBe(false);
  });

  test('withdraws what waits for the other kind, and goes on with the rest', async () => {
    await using harness = new Harness();
    const wait = harness.source(() => new Promise(() => {}));
    const echo = harness.command({ file: 'true' });
    const first = harness.start(wait);
    const [second, third] = [harness.start(echo), harness.start(echo)];
    await harness.executing(first);
    expect(harness.executor.withdraw(0, [first, third])).toEqual({
      withdrawn: [third],
      started: [first],
    });
    harness.executor.interrupt(0, first, cancelled());
    await harness.until(() => harness.emptied.length > 0, 'the slot to be emptied');
    expect(harness.emptied[0]).toMatchObject({ failed: { run: first }, unstarted: [second] });
    const again = harness.start(echo);
    await harness.end(again);
    expect(harness.results.has(again)).toBe(true);
  });

  test('a function given behind a command starts when the command is withdrawn', async () => {
    await using harness = new Harness();
    const sleep = harness.command({ file: 'sleep', args: ['0.2'] });
    const one = harness.source(() => 1);
    const first = harness.start(sleep);
    const second = harness.start(sleep);
    const third = harness.start(one);
    expect(harness.executor.withdraw(0, [second]).withdrawn).toEqual([second]);
    await harness.end(third);
    expect(harness.order).toEqual([first, third]);
  });

  test('a closed executor takes no more runs', async () => {
    const harness = new Harness();
    const one = harness.source(() => 1);
    await harness.call(one);
    await harness.executor.close();
    await harness.executor.close();
    expect(() => harness.start(one)).toThrow(/closed/);
  });
});

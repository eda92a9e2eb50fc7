import { describe, expect, test } from 'vitest';

import { WorkerCore, type WorkerEvent, type WorkerInstruction } from '../../src/core/index.ts';
import { aRun, defined, ended, only, placed, said } from './builders.ts';

function aWorker(
  nthreads: number,
): (...events: readonly WorkerEvent[]) => readonly WorkerInstruction[] {
  const core = new WorkerCore({ nthreads, name: 'w', address: null });
  core.handle([defined(1), defined(2)]);
  return (...events) => {
    const instructions = core.handle(events);
    core.validate();
    return instructions;
  };
}

const numbers = (from: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, index) => from + index);

/** How many runs each slot got. */
function shares(instructions: readonly WorkerInstruction[]): readonly (readonly number[])[] {
  return placed(instructions).map(([slot, runs]) => [slot, runs.length]);
}

describe('short runs', () => {
  test('of few are shared out evenly, in order', () => {
    const handle = aWorker(2);
    expect(placed(handle(said(aRun([1, 2, 3, 4, 5], { expectedUs: 10 }))))).toEqual([
      [0, [1, 2, 3]],
      [1, [4, 5]],
    ]);
  });

  test('of many go in batches of a millisecond, two to a slot', () => {
    const handle = aWorker(2);
    const instructions = handle(said(aRun(numbers(1, 100), { expectedUs: 100 })));
    expect(shares(instructions)).toEqual([
      [0, 10],
      [1, 10],
      [0, 10],
      [1, 10],
    ]);
    // A slot is given more when at most one batch is left in it, not at each end.
    expect(placed(handle(ended(numbers(1, 9), { durationUs: 100 })))).toEqual([]);
    expect(shares(handle(ended([10], { durationUs: 100 })))).toEqual([[0, 10]]);
  });

  test('of a millisecond go in batches of five', () => {
    const handle = aWorker(1);
    const instructions = handle(said(aRun(numbers(1, 20), { expectedUs: 900 })));
    expect(placed(instructions)).toEqual([[0, [1, 2, 3, 4, 5]]]);
    expect(placed(handle(ended([1], { durationUs: 900 })))).toEqual([[0, [6, 7, 8, 9, 10]]]);
    expect(placed(handle(ended([2, 3, 4, 5], { durationUs: 900 })))).toEqual([]);
  });

  test('of no length at all go in batches of 256', () => {
    const handle = aWorker(1);
    const instructions = handle(said(aRun(numbers(1, 2_000), { expectedUs: 0 })));
    expect(shares(instructions).map(([, count]) => count)).toEqual([250, 250]);
  });

  test('of two functions go in separate batches to the same slot', () => {
    const handle = aWorker(1);
    const instructions = handle(
      said(aRun([1, 2], { expectedUs: 100 })),
      said(aRun([3, 4], { fn: 2, expectedUs: 100 })),
    );
    expect(only(instructions, 'execute').map(({ fn, runs }) => [fn, runs.length])).toEqual([
      [1, 2],
      [2, 2],
    ]);
  });

  test('are known by the durations measured here', () => {
    const handle = aWorker(1);
    expect(placed(handle(said(aRun([1, 2, 3, 4]))))).toEqual([[0, [1]]]);
    expect(placed(handle(ended([1], { durationUs: 100 })))).toEqual([[0, [2, 3, 4]]]);
  });

  test('of a few milliseconds have one more waiting in the slot', () => {
    const handle = aWorker(2);
    expect(placed(handle(said(aRun([1, 2, 3, 4, 5], { expectedUs: 3_000 }))))).toEqual([
      [0, [1]],
      [1, [2]],
      [0, [3]],
      [1, [4]],
    ]);
  });
});

describe('long, unknown and limited runs', () => {
  test.each([
    ['long', { expectedUs: 1e6 }],
    ['unknown', {}],
    ['limited', { expectedUs: 10, timeoutMs: 1_000 }],
  ])('%s ones go alone to an empty slot, in the order they came', (_, fields) => {
    const handle = aWorker(2);
    expect(placed(handle(said(aRun([1, 2, 3, 4], fields))))).toEqual([
      [0, [1]],
      [1, [2]],
    ]);
    expect(placed(handle(ended([2], { durationUs: 1e6 })))).toEqual([[1, [3]]]);
  });

  test('nothing is queued behind one', () => {
    const handle = aWorker(1);
    handle(said(aRun([1])));
    expect(placed(handle(said(aRun([2], { fn: 2, expectedUs: 1 }))))).toEqual([]);
  });
});

describe('runs of several threads', () => {
  test('block as many slots, and free them all', () => {
    const handle = aWorker(3);
    expect(placed(handle(said(aRun([1], { threads: 2 })), said(aRun([2, 3]))))).toEqual([
      [0, [1]],
      [2, [2]],
    ]);
    expect(placed(handle(ended([1])))).toEqual([[0, [3]]]);
  });

  test('hold up those behind them until enough slots are free', () => {
    const handle = aWorker(2);
    handle(said(aRun([1])));
    expect(placed(handle(said(aRun([2], { threads: 2 })), said(aRun([3]))))).toEqual([]);
    expect(placed(handle(ended([1], { durationUs: 1e6 })))).toEqual([[0, [2]]]);
    expect(placed(handle(ended([2], { durationUs: 1e6 })))).toEqual([[0, [3]]]);
  });
});

describe('runs stuck behind one that takes surprisingly long', () => {
  test('move to an idle slot', () => {
    const handle = aWorker(2);
    handle(said(aRun(numbers(1, 6), { expectedUs: 10 }), 0));
    const idle = handle(ended([4, 5, 6], { durationUs: 10 }, 1));
    expect(only(idle, 'wake')).toHaveLength(1);
    expect(only(idle, 'withdraw')).toEqual([]);

    const woken = handle({ kind: 'woke', nowMs: 11 });
    expect(only(woken, 'withdraw')).toEqual([{ do: 'withdraw', slot: 0, runs: [2, 3] }]);
    const moved = handle({
      kind: 'runs-withdrawn',
      nowMs: 11,
      slot: 0,
      withdrawn: [2, 3],
      started: [],
    });
    expect(placed(moved)).toEqual([[1, [2, 3]]]);
  });

  test('are not asked back again and again where one of them has just begun', () => {
    const handle = aWorker(2);
    handle(said(aRun(numbers(1, 6), { expectedUs: 10 }), 0));
    handle(ended([4, 5, 6], { durationUs: 10 }, 1));
    expect(only(handle({ kind: 'woke', nowMs: 11 }), 'withdraw')).toHaveLength(1);
    // 1 has ended, which is still to be reported, and 2 has begun.
    const answer = { kind: 'runs-withdrawn', nowMs: 11, slot: 0 } as const;
    const answered = handle({ ...answer, withdrawn: [3], started: [2] });
    expect(placed(answered)).toEqual([[1, [3]]]);
    expect(only(answered, 'withdraw')).toEqual([]);
    handle(ended([3], { durationUs: 10 }, 12));
    const late = { ...answer, nowMs: 21, withdrawn: [], started: [2] };
    expect(only(handle({ kind: 'woke', nowMs: 21 }), 'withdraw')).toHaveLength(1);
    expect(only(handle(late), 'withdraw')).toEqual([]);
  });

  test('are looked at again later while nothing is wrong, once at a time', () => {
    const handle = aWorker(2);
    handle(said(aRun(numbers(1, 6), { expectedUs: 10 }), 0));
    handle(ended([4, 5, 6], { durationUs: 10 }, 1));
    expect(only(handle(ended([1], { durationUs: 10 }, 8)), 'wake')).toEqual([]);
    expect(only(handle({ kind: 'woke', nowMs: 11 }), 'wake')).toHaveLength(1);
    expect(
      handle(ended([2, 3], { durationUs: 10 }, 12)).map((instruction) => instruction.do),
    ).toEqual(['to-scheduler']);
    expect(handle({ kind: 'woke', nowMs: 21 })).toEqual([]);
  });
});

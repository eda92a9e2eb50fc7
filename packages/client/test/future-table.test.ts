import { failure, results } from '@farm/protocol';
import { describe, expect, test } from 'vitest';

import { FutureTable } from '../src/future-table.ts';
import { IdRanges } from '../src/id-ranges.ts';

const WHY = failure('ERR_TASK', 'no', '', null, null);

function report(table: FutureTable, ids: readonly number[], bytes: readonly number[]): void {
  let end = 0;
  table.setResults(
    results({
      ids,
      sizes: ids.map(() => 1),
      values: Uint8Array.from(bytes),
      ends: ids.map(() => (end += 1)),
      durationsUs: ids.map(() => 1),
      ranOn: ids.map(() => 0),
      workers: ['w'],
    }),
  );
}

describe('FutureTable', () => {
  test('keeps futures over many pages, and forgets pages that are released', () => {
    const table = new FutureTable();
    const first = table.allocate(10_000);
    expect(first).toBe(1);
    expect(table.allocate(1)).toBe(10_001);
    const ids = Array.from({ length: 10_000 }, (_, index) => index + 1);
    report(
      table,
      ids,
      ids.map((id) => id % 251),
    );
    expect(table.value(7_777)).toEqual(Uint8Array.of(7_777 % 251));
    table.release(1, 10_000);
    expect(table.size).toBe(1);
    expect(table.status(5)).toBe('released');
    expect(table.takeReleased()).toEqual([1, 10_000]);
    expect(table.takeReleased()).toEqual([]);
  });

  test('a later report replaces an earlier one', () => {
    const table = new FutureTable();
    table.allocate(2);
    report(table, [1, 2], [10, 20]);
    report(table, [2], [30]);
    expect([table.value(1), table.value(2)]).toEqual([Uint8Array.of(10), Uint8Array.of(30)]);
    table.setFailed([1], WHY);
    expect([table.status(1), table.value(1), table.failure(1)]).toEqual(['error', null, WHY]);
    table.setPending([1]);
    expect([table.status(1), table.failure(1)]).toEqual(['pending', undefined]);
    report(table, [1], [40]);
    expect(table.value(1)).toEqual(Uint8Array.of(40));
  });

  test('nothing changes a released or a cancelled future', () => {
    const table = new FutureTable();
    table.allocate(2);
    table.release(1, 1);
    table.setCancelled([2], WHY);
    report(table, [1, 2, 3, 4_000_000_000], [1, 2, 3, 4]);
    table.setFailed([1, 2], WHY);
    table.setPending([1, 2]);
    expect([table.status(1), table.status(2), table.status(3)]).toEqual([
      'released',
      'cancelled',
      'released',
    ]);
  });

  test('tells watchers once, and only those that still watch', () => {
    const table = new FutureTable();
    table.allocate(3);
    const told: string[] = [];
    const watcher = (name: string): { settled: (id: number) => void } => ({
      settled: (id) => told.push(`${name}${id}`),
    });
    const [a, b] = [watcher('a'), watcher('b')];
    table.watch(1, a);
    table.watch(1, b);
    table.watch(2, a);
    table.watch(3, a);
    table.unwatch(1, b);
    report(table, [1, 1], [5, 5]);
    table.loseAll(WHY);
    expect(told).toEqual(['a1', 'a2', 'a3']);
    expect(table.status(2)).toBe('lost');
  });

  test('one future with ten thousand results needs no more than one chunk', () => {
    const table = new FutureTable();
    table.allocate(1);
    for (let round = 0; round < 10_000; round++) report(table, [1], [round % 251]);
    expect(table.value(1)).toEqual(Uint8Array.of(9_999 % 251));
  });
});

test('IdRanges joins what touches', () => {
  const ranges = new IdRanges();
  for (const id of [5, 6, 7, 1, 2, 9, 8, 3]) ranges.add(id);
  expect(ranges.take()).toEqual([1, 3, 5, 5]);
  expect(ranges.isEmpty).toBe(true);
});

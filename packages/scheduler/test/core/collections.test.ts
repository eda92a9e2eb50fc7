import fc from 'fast-check';
import { expect, test } from 'vitest';

import { Heap } from '../../src/core/collections/heap.ts';
import {
  eachItem,
  hasItem,
  itemCount,
  withItem,
  withoutItem,
} from '../../src/core/collections/one-or-many.ts';
import type { OneOrMany } from '../../src/core/collections/one-or-many.ts';
import { RangeTable } from '../../src/core/collections/range-table.ts';

test('a heap gives its items in order', () => {
  fc.assert(
    fc.property(fc.array(fc.integer()), (numbers) => {
      const heap = new Heap<number>((a, b) => a < b);
      for (const number of numbers) heap.push(number);
      const out: number[] = [];
      for (let top = heap.pop(); top !== undefined; top = heap.pop()) out.push(top);
      expect(out).toEqual(numbers.toSorted((a, b) => a - b));
    }),
  );
});

test('one-or-many is a set', () => {
  const items = Array.from({ length: 4 }, (_, index) => ({ index }));
  const step = fc.tuple(fc.boolean(), fc.constantFrom(...items));
  fc.assert(
    fc.property(fc.array(step), (steps) => {
      const model = new Set<{ index: number }>();
      let set: OneOrMany<{ index: number }> = null;
      for (const [isAdded, item] of steps) {
        set = isAdded ? withItem(set, item) : withoutItem(set, item);
        if (isAdded) model.add(item);
        else model.delete(item);
        expect(itemCount(set)).toBe(model.size);
        expect([...eachItem(set)]).toEqual([...model]);
        for (const one of items) expect(hasItem(set, one)).toBe(model.has(one));
      }
    }),
  );
});

test('a range table finds what a search through all ranges finds', () => {
  const step = fc.record({
    isAdded: fc.boolean(),
    first: fc.nat(400),
    count: fc.integer({ min: 1, max: 9 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
      const table = new RangeTable<{ first: number; count: number }>();
      let model: { first: number; count: number }[] = [];
      for (const { isAdded, first, count } of steps) {
        const overlaps = model.filter(
          (range) => range.first < first + count && range.first + range.count > first,
        );
        const sorted = overlaps.toSorted((a, b) => a.first - b.first);
        expect(table.overlapping(first, count)).toEqual(sorted);
        if (isAdded && overlaps.length === 0) {
          const range = { first, count };
          model.push(range);
          table.add(range);
        } else {
          for (const range of overlaps) table.delete(range);
          model = model.filter((range) => !overlaps.includes(range));
        }
        const found = model.find(
          (range) => range.first <= first && first < range.first + range.count,
        );
        expect(table.find(first)).toBe(found);
        expect(table.size).toBe(model.length);
      }
      expect([...table]).toEqual(model.toSorted((a, b) => a.first - b.first));
    }),
  );
});

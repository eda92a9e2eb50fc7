import fc from 'fast-check';
import { expect, test } from 'vitest';

import { AscendingMap } from '../../src/core/collections/ascending-map.ts';
import { ByteChunks } from '../../src/core/collections/byte-chunks.ts';
import { FewFirst } from '../../src/core/collections/few-first.ts';
import { FewNumbers } from '../../src/core/collections/few-numbers.ts';
import { Heap } from '../../src/core/collections/heap.ts';
import { NumberSet } from '../../src/core/collections/number-set.ts';
import {
  eachItem,
  hasItem,
  itemCount,
  withItem,
  withoutItem,
} from '../../src/core/collections/one-or-many.ts';
import type { OneOrMany } from '../../src/core/collections/one-or-many.ts';
import { RangeTable } from '../../src/core/collections/range-table.ts';
import { SessionMap } from '../../src/core/collections/session-map.ts';

interface Keyed {
  readonly key: number;
}

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

test.each([
  ['an ascending map', (): AscendingMap<Keyed> => new AscendingMap<Keyed>()],
  ['a map of few', (): FewFirst<Keyed> => new FewFirst<Keyed>()],
])('%s is a map whose entries come in order', (_, make) => {
  // A step adds the next key, or deletes (or fails to find) the one of that part of those so far.
  const step = fc.oneof(fc.constant(null), fc.double({ min: 0, max: 1.1, noNaN: true }));
  fc.assert(
    fc.property(fc.array(step, { size: 'large' }), (steps) => {
      const model = new Map<number, Keyed>();
      const map = make();
      let last = 0;
      for (const part of steps) {
        const key = part === null ? (last += 3) : Math.floor(part * last);
        if (part === null) {
          map.set(key, { key });
          model.set(key, map.get(key) ?? { key: NaN });
        } else {
          expect(map.delete(key)).toBe(model.delete(key));
        }
        expect(map.size).toBe(model.size);
        expect(map.get(key)).toBe(model.get(key));
        expect(map.has(key)).toBe(model.has(key));
      }
      expect([...map.values()]).toEqual([...model.values()]);
      map.clear();
      expect([map.size, [...map.values()]]).toEqual([0, []]);
    }),
  );
});

test.each([
  ['a number set', (): NumberSet => new NumberSet()],
  ['a set of few numbers', (): FewNumbers => new FewNumbers()],
])('%s is a set', (_, make) => {
  const numbers = Array.from({ length: 64 }, (_, index) => 1_000 + index * 7);
  const step = fc.tuple(fc.boolean(), fc.constantFrom(...numbers));
  fc.assert(
    fc.property(fc.array(step, { size: 'large' }), (steps) => {
      const model = new Set<number>();
      const set = make();
      for (const [isAdded, number] of steps) {
        if (isAdded) {
          expect(set.add(number)).toBe(!model.has(number));
          model.add(number);
        } else {
          expect(set.delete(number)).toBe(model.delete(number));
        }
        expect(set.size).toBe(model.size);
      }
      for (const number of numbers) expect(set.has(number)).toBe(model.has(number));
      expect(new Set(set)).toEqual(model);
    }),
  );
});

test('byte chunks keep what they were given, small strings several to a chunk', () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 1_000 }), { maxLength: 100 });
  fc.assert(
    fc.property(sizes, (lengths) => {
      const chunks = new ByteChunks();
      const kept = lengths.map((length, index) => {
        const given = new Uint8Array(length).fill(index + 1);
        const where = chunks.keep(given);
        given.fill(0);
        return where;
      });
      kept.forEach(({ bytes, start, end }, index) => {
        const length = lengths[index] ?? 0;
        expect(bytes.slice(start, end)).toEqual(new Uint8Array(length).fill(index + 1));
      });
      const small = kept.filter((_, index) => (lengths[index] ?? 0) <= 512);
      const room = new Set(small.map(({ bytes }) => bytes)).size * 4_096;
      const used = small.reduce((sum, { start, end }) => sum + end - start, 0);
      expect(room).toBeLessThan(used * 1.25 + 4_097);
    }),
  );
});

test('a map by sessions is a map', () => {
  const name = fc.oneof(fc.constantFrom('', 'a', 'b', 'worker-1', 'worker-2'), fc.string());
  const one = fc.tuple(fc.constantFrom('add', 'add', 'delete', 'get'), name);
  const many = fc.nat(200).map((number): [string, string] => {
    return [number % 3 === 0 ? 'delete' : 'add', `worker-${number}`];
  });
  fc.assert(
    fc.property(fc.array(fc.oneof(one, many), { size: 'large' }), (steps) => {
      const map = new SessionMap();
      const model = new Map<string, { readonly session: string }>();
      for (const [what, session] of steps) {
        const item = { session };
        if (what === 'delete') {
          expect(map.delete(session)).toBe(model.delete(session));
        } else if (what === 'add' && !model.has(session)) {
          map.add(item);
          model.set(session, item);
        }
        expect(map.get(session)).toBe(model.get(session));
        expect(map.size).toBe(model.size);
      }
      expect([...map.values()]).toEqual([...model.values()]);
    }),
  );
});

test('of a map by sessions, all that are there are visited while some are taken out', () => {
  const map = new SessionMap();
  for (let at = 0; at < 100; at++) map.add({ session: `worker-${at}` });
  const seen: string[] = [];
  for (const { session } of map.values()) {
    seen.push(session);
    map.delete(session);
    map.delete(`worker-${Number(session.slice(7)) + 1}`);
  }
  expect(seen).toEqual(Array.from({ length: 50 }, (_, at) => `worker-${2 * at}`));
  expect(map.size).toBe(0);
});

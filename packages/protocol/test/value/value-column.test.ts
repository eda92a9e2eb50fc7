import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { decodeValue, FUTURE, ValueColumn, type EncodedColumn } from '../../src/value/index.ts';
import { refusal } from '../refusal.ts';

function valuesOf({ bytes, ends }: EncodedColumn): unknown[] {
  const offsets = new DataView(ends.buffer, ends.byteOffset, ends.byteLength);
  return Array.from({ length: ends.byteLength / 4 }, (_, index) => {
    const start = index === 0 ? 0 : offsets.getUint32(4 * (index - 1), true);
    return decodeValue(bytes.subarray(start, offsets.getUint32(4 * index, true)));
  });
}

function columnOf(values: readonly unknown[]): ValueColumn {
  const column = new ValueColumn();
  for (const value of values) column.append(value);
  return column;
}

describe('ValueColumn', () => {
  test('keeps many values apart', () => {
    const values = Array.from({ length: 10_000 }, (_, index) => [index, `value ${index}`]);
    const column = columnOf(values);
    expect(column.count).toBe(10_000);
    const taken = column.take();
    expect(valuesOf(taken)).toStrictEqual(values);
    expect(taken.bytes.length).toBeLessThan(10_000 * 17);
  });

  test('starts anew after take', () => {
    const column = columnOf([1, 2]);
    const first = column.take();
    expect([column.count, column.byteLength]).toEqual([0, 0]);
    column.append('x');
    expect(valuesOf(column.take())).toStrictEqual(['x']);
    expect(valuesOf(first)).toStrictEqual([1, 2]);
    expect(valuesOf(column.take())).toStrictEqual([]);
  });

  test('stays as it was when a value cannot travel', () => {
    const column = columnOf([[1], { a: 2 }]);
    const size = column.byteLength;
    const value = { data: new Float64Array(1_000), f: (): void => {} };
    const error = refusal(() => column.append(value, 'row 2'));
    expect(error.message).toMatch(/^row 2\.f: /u);
    expect([column.count, column.byteLength]).toEqual([2, size]);
    column.append([3]);
    expect(valuesOf(column.take())).toStrictEqual([[1], { a: 2 }, [3]]);
  });

  test('tells the futures of each value', () => {
    const column = new ValueColumn();
    const future = { [FUTURE]: true };
    expect(column.append([future, 1])).toStrictEqual([future]);
    expect(column.append([1])).toStrictEqual([]);
    expect(column.append({ future })).toStrictEqual([future]);
    const { bytes, ends } = column.take();
    const start = new DataView(ends.buffer, ends.byteOffset).getUint32(4, true);
    expect(decodeValue(bytes.subarray(start), [7])).toStrictEqual({ future: 7 });
  });

  test('starts a value with large buffers on a boundary, and only such a value', () => {
    const large = new Float64Array(1_000).fill(1.5);
    const small = new Uint8Array([1, 2, 3]);
    const values = ['abc', large, 'x', small, 'y', [large], large, 1];
    const { bytes, ends } = columnOf(values).take();
    expect(valuesOf({ bytes, ends })).toStrictEqual(values);
    const offsets = new DataView(ends.buffer, ends.byteOffset, ends.byteLength);
    for (const index of [1, 5, 6]) {
      const start = offsets.getUint32(4 * (index - 1), true);
      expect(start % 8).toBe(0);
      const value = decodeValue(bytes.subarray(start, offsets.getUint32(4 * index, true)));
      // SAFE: these values hold the array, or are it
      const [array] = [value].flat() as [Float64Array];
      expect(array.buffer).toBe(bytes.buffer);
    }
    expect(offsets.getUint32(0, true)).toBe(8); // padded for the value that follows
    expect(offsets.getUint32(8, true) - offsets.getUint32(4, true)).toBe(2);
  });

  test('refuses an append from inside an append', () => {
    const column = columnOf([1]);
    const value = {
      get again(): unknown {
        return column.append(2);
      },
    };
    expect(refusal(() => column.append(value)).message).toContain('.again: ');
    expect(valuesOf(column.take())).toStrictEqual([1]);
  });

  test('gives back any values', () => {
    const item = fc.oneof(
      fc.anything(),
      fc.integer({ min: 0, max: 800 }).map((length) => new Float64Array(length).fill(length)),
    );
    const property = fc.property(fc.array(item, { maxLength: 12 }), (values) => {
      expect(valuesOf(columnOf(values).take())).toEqual(structuredClone(values));
    });
    fc.assert(property, { numRuns: 300 });
  });
});

import { expect, test } from 'vitest';

import { decodeValue, encodeValue } from '../../src/value/index.ts';
import {
  type AllocateMemory,
  makeResultArray,
  takeResultArray,
} from '../../src/value/result-array.ts';

test.each([512, 513, 2_047, 2_048, 100_000, 300_000])(
  'a result array of %d elements lies where it is encoded, as any other would be',
  (length) => {
    for (const array of [
      makeResultArray(Float64Array, length),
      makeResultArray(Uint8ClampedArray, length),
      makeResultArray(Int16Array, length),
    ]) {
      array.forEach((_, index) => {
        array[index] = index % 200;
      });
      if (array.byteLength < 4_096) continue;
      const copy = encodeValue(array.slice()).bytes;
      const bytes = takeResultArray(array);
      expect(bytes?.buffer).toBe(array.buffer);
      expect(Buffer.compare(bytes ?? new Uint8Array(), copy)).toBe(0);
      expect(decodeValue(bytes ?? new Uint8Array())).toEqual(array);
    }
  },
);

test('memory for large ones comes from where it is said, and is encoded there', () => {
  const asked: number[] = [];
  const allocate: AllocateMemory = (sizeBytes) => {
    asked.push(sizeBytes);
    return new Uint8Array(new ArrayBuffer(sizeBytes + 100), 16, sizeBytes);
  };
  const array = makeResultArray(Float64Array, 200_000, allocate).fill(2);
  const bytes = takeResultArray(array);
  expect(bytes?.byteOffset).toBe(16);
  expect(decodeValue(bytes ?? new Uint8Array())).toEqual(array);
  expect(bytes?.byteLength).toBe(asked[0]);
  makeResultArray(Float64Array, 10, allocate);
  expect(asked).toHaveLength(1);
});

test('so does that for other large values, where it is known at once how much it takes', () => {
  const asked: number[] = [];
  const allocate: AllocateMemory = (sizeBytes) => {
    asked.push(sizeBytes);
    return new Uint8Array(new ArrayBuffer(sizeBytes + 100), 16, sizeBytes);
  };
  const large = { name: 'x', values: new Float64Array(200_000).fill(2) };
  const { bytes } = encodeValue(large, { allocate });
  expect(asked).toHaveLength(1);
  expect([bytes.byteOffset, bytes.byteLength <= (asked[0] ?? 0)]).toEqual([16, true]);
  expect(decodeValue(bytes)).toEqual(large);
  // Nor is the memory kept for others.
  expect(encodeValue('small', { allocate }).bytes.buffer).not.toBe(bytes.buffer);
  for (const other of [new Float64Array(10), Array.from({ length: 400_000 }, () => 'some text')]) {
    expect(decodeValue(encodeValue(other, { allocate }).bytes)).toEqual(other);
  }
  expect(asked).toHaveLength(1);
});

test('bigints and floats of half size have result arrays, too', () => {
  const array = makeResultArray(BigInt64Array, 1_000).fill(7n);
  expect(decodeValue(takeResultArray(array) ?? new Uint8Array())).toEqual(array);
});

test('small ones, other arrays and what was taken before are encoded by copying', () => {
  expect(takeResultArray(makeResultArray(Float64Array, 511))).toBeUndefined();
  expect(takeResultArray(new Float64Array(1_000))).toBeUndefined();
  expect(takeResultArray([1])).toBeUndefined();
  const array = makeResultArray(Float64Array, 512);
  expect(takeResultArray(array)?.byteLength).toBeGreaterThan(4_096);
  expect(takeResultArray(array)).toBeUndefined();
});

test('part of another value it travels without what is before it', () => {
  const array = makeResultArray(Float64Array, 1_000).fill(3);
  expect(decodeValue(encodeValue({ array }).bytes)).toEqual({ array });
  expect(decodeValue(encodeValue(array.subarray(1)).bytes)).toEqual(array.slice(1));
});

test('what is no typed array or no length is refused', () => {
  const refused: unknown = expect.objectContaining({ code: 'ERR_ARGUMENT' });
  // @ts-expect-error: no typed array
  expect(() => makeResultArray(Map, 1_000)).toThrow(refused);
  for (const length of [-1, 1.5, NaN]) {
    expect(() => makeResultArray(Float64Array, length)).toThrow(refused);
  }
  expect(() => makeResultArray(Float64Array, 2 ** 40)).toThrow(
    expect.objectContaining({ code: 'ERR_VALUE' }),
  );
});

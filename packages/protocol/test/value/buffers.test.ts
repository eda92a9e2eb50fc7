import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { decodeValue, encodeValue } from '../../src/value/index.ts';
import { roundTrip } from './round-trip.ts';

/** The bytes at a chosen distance from an 8-byte boundary. */
function movedBy(bytes: Uint8Array, offset: number): Uint8Array {
  const moved = new Uint8Array(new ArrayBuffer(bytes.length + offset), offset);
  moved.set(bytes);
  return moved;
}

function numbers(count: number): Float64Array<ArrayBuffer> {
  return Float64Array.from({ length: count }, (_, index) => index / 3);
}

describe('large contents', () => {
  test('are views of the input, not copies', () => {
    const { bytes } = encodeValue({ before: 'x', data: numbers(1_000) });
    // SAFE: this shape was encoded
    const { data } = decodeValue(movedBy(bytes, 0)) as { data: Float64Array };
    const again = movedBy(bytes, 64);
    // SAFE: this shape was encoded
    const shared = decodeValue(again) as { data: Float64Array };
    expect(data).toStrictEqual(numbers(1_000));
    expect(shared.data).toEqual(data);
    expect(shared.data.buffer).toBe(again.buffer);
  });

  test.each([1, 4, 7])('are copied where the input is %i bytes off', (offset) => {
    const input = movedBy(encodeValue(numbers(1_000)).bytes, offset);
    // SAFE: this was encoded
    const arrived = decodeValue(input) as Float64Array;
    expect(arrived).toStrictEqual(numbers(1_000));
    expect(arrived.buffer).not.toBe(input.buffer);
    expect(arrived.byteOffset).toBe(0);
  });

  test('are copied on request', () => {
    const { bytes } = encodeValue(numbers(1_000));
    // SAFE: this was encoded
    const arrived = decodeValue(bytes, [], { copy: true }) as Float64Array;
    expect(arrived.buffer).not.toBe(bytes.buffer);
    expect(arrived.buffer.byteLength).toBe(8_000);
  });

  test('each on a boundary, whatever stands between them', () => {
    const parts = [
      new Uint8Array(4_097).fill(1),
      'x',
      numbers(600),
      new Uint8Array(3),
      numbers(513),
    ];
    const input = movedBy(encodeValue(parts).bytes, 8);
    // SAFE: this was encoded
    const arrived = decodeValue(input) as [
      Uint8Array,
      string,
      Float64Array,
      Uint8Array,
      Float64Array,
    ];
    expect(arrived).toEqual(parts);
    for (const index of [0, 2, 4] as const) expect(arrived[index].buffer).toBe(input.buffer);
    expect(arrived[3].buffer.byteLength).toBe(3);
  });

  test('as ArrayBuffers are copies, since a buffer cannot be part of another', () => {
    const { buffer } = numbers(1_000);
    expect(roundTrip(buffer)).toStrictEqual(buffer);
  });
});

describe('small contents', () => {
  test('do not keep the input alive', () => {
    const { bytes } = encodeValue([numbers(8), numbers(1_000)]);
    // SAFE: this was encoded
    const [small] = decodeValue(bytes) as [Float64Array];
    expect(small.buffer.byteLength).toBe(64);
  });
});

describe('views of one ArrayBuffer', () => {
  test('that cover it share it afterwards', () => {
    const buffer = new ArrayBuffer(16);
    const value = [
      new Uint8Array(buffer, 0, 8),
      new Float64Array(buffer, 8, 1),
      new DataView(buffer),
    ];
    // SAFE: this was encoded
    const arrived = roundTrip(value) as typeof value;
    expect(arrived).toStrictEqual(value);
    expect(new Set(arrived.map((view) => view.buffer)).size).toBe(1);
    new Uint8Array(arrived[0]?.buffer ?? new ArrayBuffer(0))[3] = 7;
    expect(arrived[0]).toHaveProperty('3', 7);
  });

  test('and the buffer itself are one memory, of full length', () => {
    const buffer = new ArrayBuffer(8_192);
    const value = { view: new Uint8Array(buffer, 100, 5), buffer, again: buffer };
    // SAFE: this was encoded
    const arrived = roundTrip(value) as typeof value;
    expect(arrived.view.buffer).toBe(arrived.buffer);
    expect(arrived.view.byteOffset).toBe(100);
    expect(arrived.buffer.byteLength).toBe(8_192);
    expect(arrived.again).toBe(arrived.buffer);
  });

  test.each([10, 5_000])('take along only the bytes they cover (%i)', (length) => {
    const secret = Buffer.alloc(100_000, 'secret');
    const own = secret.subarray(1_003, 1_003 + length).fill('x');
    const { bytes } = encodeValue([own, own.subarray(2, 4)]);
    expect(bytes.length).toBeLessThan(length + 100);
    expect(Buffer.from(bytes).includes('secret')).toBe(false);
    expect(decodeValue(bytes)).toStrictEqual([new Uint8Array(own), new Uint8Array([120, 120])]);
  });

  test('that lie apart do not take along the gap', () => {
    const secret = Buffer.alloc(1_000, 'secret');
    const { bytes } = encodeValue([secret.subarray(0, 3).fill(1), secret.subarray(990).fill(2)]);
    expect(Buffer.from(bytes).includes('secret')).toBe(false);
  });

  test('stay aligned to their elements when the first starts at an odd byte', () => {
    const buffer = new ArrayBuffer(40_000);
    const value = [new Uint8Array(buffer, 3, 20), new Float64Array(buffer, 8, 3_000)];
    value[1]?.fill(1.5);
    expect(roundTrip(value)).toStrictEqual(value);
    const small = [new Uint8Array(buffer, 5, 20), new Float64Array(buffer, 8, 3)];
    expect(roundTrip(small)).toStrictEqual(small);
  });

  test('any views give the same bytes and overlaps afterwards', () => {
    const kinds = [Uint8Array, Int16Array, Float32Array, BigInt64Array] as const;
    const view = fc.record({ kind: fc.nat(3), at: fc.nat(900), length: fc.nat(900) });
    const property = fc.property(
      fc.array(view, { maxLength: 8 }),
      fc.boolean(),
      (views, isWhole) => {
        const buffer = Uint8Array.from({ length: 16_384 }, (_, index) => index % 251).buffer;
        const made = views.map(({ kind, at, length }) => {
          const type = kinds[kind] ?? Uint8Array;
          return new type(buffer, at * type.BYTES_PER_ELEMENT, length);
        });
        const value = isWhole ? [...made, buffer] : made;
        // SAFE: this was encoded
        const arrived = decodeValue(movedBy(encodeValue(value).bytes, 0)) as typeof made;
        for (const [index, before] of made.entries()) expect(arrived[index]).toEqual(before);
        for (const [index, one] of made.entries()) {
          if (one.byteLength === 0) continue;
          const other = made.findIndex(
            (two) =>
              two.byteOffset <= one.byteOffset && two.byteOffset + two.byteLength > one.byteOffset,
          );
          const distance = one.byteOffset - (made[other]?.byteOffset ?? 0);
          const [first, second] = [arrived[other], arrived[index]];
          expect(second?.buffer).toBe(first?.buffer);
          expect((second?.byteOffset ?? 0) - (first?.byteOffset ?? 0)).toBe(distance);
        }
      },
    );
    fc.assert(property, { numRuns: 200 });
  });
});

describe('resizable buffers', () => {
  test('stay resizable', () => {
    const buffer = new ArrayBuffer(8, { maxByteLength: 16 });
    // SAFE: this was encoded
    const arrived = roundTrip(buffer) as ArrayBuffer;
    expect([arrived.byteLength, arrived.resizable, arrived.maxByteLength]).toEqual([8, true, 16]);
  });

  test.each<[string, (buffer: ArrayBuffer) => Uint8Array | DataView]>([
    ['a view that follows the length', (buffer) => new Uint8Array(buffer)],
    ['a view that follows it from an offset', (buffer) => new Uint8Array(buffer, 4)],
    ['a view of fixed length', (buffer) => new Uint8Array(buffer, 0, 8)],
    ['a view of fixed length that ends before', (buffer) => new Uint8Array(buffer, 0, 4)],
    ['a DataView that follows the length', (buffer) => new DataView(buffer)],
    ['a DataView of fixed length', (buffer) => new DataView(buffer, 0, 8)],
  ])('%s arrives as such', (_name, makeView) => {
    for (const maxByteLength of [8, 32]) {
      const buffer = new ArrayBuffer(8, { maxByteLength });
      // SAFE: a clone of a view of an ArrayBuffer
      const clone = structuredClone(makeView(buffer)) as Uint8Array<ArrayBuffer>;
      // SAFE: this was encoded
      const arrived = roundTrip(makeView(buffer)) as
        | Uint8Array<ArrayBuffer>
        | DataView<ArrayBuffer>;
      expect(arrived.byteLength).toBe(clone.byteLength);
      arrived.buffer.resize(6);
      clone.buffer.resize(6);
      expect(lengthNow(arrived)).toBe(lengthNow(clone));
    }
  });

  function lengthNow(view: ArrayBufferView): number | string {
    try {
      return view.byteLength;
    } catch {
      return 'out of bounds';
    }
  }
});

test('views of shared memory travel as copies where that is asked for', () => {
  const memory = new SharedArrayBuffer(80_000);
  const all = new Float64Array(memory).map((_, index) => index);
  new Float64Array(memory).set(all);
  const value = { all: new Float64Array(memory), part: new Uint16Array(memory, 16, 3) };
  const { bytes } = encodeValue(value, { futures: false, sharedViews: true });
  const { all: arrived, part } = decodeValue(bytes) as typeof value;
  expect(arrived).toEqual(all);
  expect(part).toEqual(new Uint16Array(all.buffer, 16, 3));
  expect(arrived.buffer).toBeInstanceOf(ArrayBuffer);
  const bare = { futures: false, sharedViews: true };
  expect(() => encodeValue({ memory }, bare)).toThrow('value.memory: a SharedArrayBuffer');
});

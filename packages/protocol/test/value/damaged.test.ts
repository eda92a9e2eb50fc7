import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { FarmError } from '../../src/core/errors.ts';
import { decodeValue, encodeValue, FUTURE } from '../../src/value/index.ts';
import { refusal } from '../refusal.ts';

const rich = {
  numbers: [1, -1, 300, 70_000, 1.5, 2n ** 80n],
  text: ['short', 'x'.repeat(40), '漢字', '\ud800'],
  map: new Map<unknown, unknown>([['k', new Set([1])]]),
  // oxlint-disable-next-line no-sparse-arrays
  lists: [[1, , 2], Object.assign([1], { a: 2 }), Object.assign([], { 5_000: 1 })],
  others: [new Date(0), /a/g, Object(1), new TypeError('t', { cause: 'c' })],
  buffers: [new Uint8Array(5), new Float64Array(600), new ArrayBuffer(4)],
  future: { [FUTURE]: true },
};

/** Decoding gives a value or an ERR_VALUE, nothing else, and pollutes nothing. */
function isHarmless(bytes: Uint8Array): boolean {
  try {
    decodeValue(bytes, ['result']);
  } catch (error) {
    if (!(error instanceof FarmError) || error.code !== 'ERR_VALUE') throw error;
  }
  return Object.keys(Object.prototype).length === 0 && Object.keys(Array.prototype).length === 0;
}

describe('bytes that are no value', () => {
  test.each<[string, number[], string]>([
    ['nothing', [], 'cut off'],
    ['an unknown tag', [0xfe], '0xfe starts no item'],
    ['padding alone', [0xff], 'starts no item'],
    ['two values', [1, 2], '1 bytes follow its end'],
    ['eight bytes of padding', [1, ...Array.from({ length: 8 }, () => 0xff)], 'follow its end'],
    ['a string of 4 GiB', [0xbb, 0xff, 0xff, 0xff, 0xff, 0x0f, 97], 'cut off'],
    ['a bigint of 4 GiB', [0xb9, 0xff, 0xff, 0xff, 0xff, 0x0f, 97], 'cut off'],
    ['an array of 4 Gi items', [0xc0, 0xff, 0xff, 0xff, 0xff, 0x0f, 1], 'cut off'],
    ['a longer array than there can be', [0xc0, 0xff, 0xff, 0xff, 0xff, 0x7f, 1], 'too long'],
    ['a Map of 4 Gi entries', [0xc6, 0xff, 0xff, 0xff, 0xff, 0x0f, 1], 'cut off'],
    ['an endless length', [0xc0, ...Array.from({ length: 20 }, () => 0x80)], '49 bits'],
    ['an object without end', [0xc4, 0x81, 97, 1], 'cut off'],
    ['a number as property name', [0xc4, 1, 1, 0xc5], 'no property name'],
    ['a hole by itself', [0xc2], 'hole'],
    ['a hole in an object', [0xc4, 0x81, 97, 0xc2, 0xc5], 'hole'],
    ['a reference to nothing', [0xd0, 0], 'has not appeared'],
    ['a boxed object', [0xca, 0xa0], 'boxed'],
    ['a boxed reference to itself', [0xca, 0xd0, 0], 'has not appeared'],
    ['a pattern that does not parse', [0xc9, 0x81, 0x28, 0x80], 'cannot be built'],
    ['a RegExp of numbers', [0xc9, 1, 2], 'text was expected'],
    ['an error of unknown class', [0xcb, 99, 0, 0, 0xc5], 'unknown class'],
    ['a buffer without table', [0xcc, 0, 0, 0, 0], 'buffer that is not there'],
    ['a table outside', [0xcf, 0xff, 0xff, 0, 0, 1], 'no table'],
    ['a buffer of 2 GiB', [0xcf, 5, 0, 0, 0, 1, 0, 0x80, 0x80, 0x80, 0x80, 0x08], 'cut off'],
    [
      'an array with its length set',
      [0xc1, 0, 0x86, ...Buffer.from('length'), 9, 0xc5],
      'length of',
    ],
    ['an item beyond a sparse array', [0xc0, 20, 0xc3, 1, 30, 1], 'beyond the end'],
  ])('%s', (_name, bytes, part) => {
    const error = refusal(() => decodeValue(new Uint8Array(bytes), [], { what: 'argument 3' }));
    expect(error.code).toBe('ERR_VALUE');
    expect(error.message).toMatch(/^argument 3: its encoding is damaged at byte \d+: /u);
    expect(error.message).toContain(part);
  });

  test('nesting beyond the limit', () => {
    const arrays = new Uint8Array(100_000).fill(0xa1);
    expect(refusal(() => decodeValue(arrays)).message).toContain('1000 levels');
    const boxes = new Uint8Array(100_000).fill(0xca);
    expect(refusal(() => decodeValue(boxes)).message).toContain('1000 levels');
  });

  test('every truncation of a value', () => {
    const { bytes } = encodeValue(rich);
    for (let length = 0; length < bytes.length - 4_900; length++) {
      expect(() => decodeValue(bytes.subarray(0, length), [1])).toThrow(FarmError);
    }
    expect(() => decodeValue(bytes.subarray(0, -1), [1])).toThrow(FarmError);
  });

  test('any bytes', () => {
    const property = fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      expect(isHarmless(bytes)).toBe(true);
    });
    fc.assert(property, { numRuns: 2_000 });
  });

  test('any bytes made of tags', () => {
    const tagged = fc.array(fc.integer({ min: 0xa0, max: 0xd1 }), { maxLength: 60 });
    const property = fc.property(tagged, (bytes) => {
      expect(isHarmless(new Uint8Array(bytes))).toBe(true);
    });
    fc.assert(property, { numRuns: 2_000 });
  });

  test('any value with some bytes changed', () => {
    const { bytes } = encodeValue(rich);
    const change = fc.tuple(fc.nat(500), fc.nat(255));
    const property = fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const mutated = bytes.slice();
      for (const [at, byte] of changes) mutated[at] = byte;
      expect(isHarmless(mutated)).toBe(true);
    });
    fc.assert(property, { numRuns: 2_000 });
  });

  test('a view that reaches beyond its contents sees nothing of the rest', () => {
    const { bytes } = encodeValue([new Uint8Array(5_000), 'secret'.repeat(10)]);
    // header 5, array 1, view tag 1, kind 1, segment 4, offset 4: then the length
    const length = new DataView(bytes.buffer, bytes.byteOffset + 16, 4);
    expect(length.getUint32(0, true)).toBe(5_000);
    length.setUint32(0, 5_001, true);
    expect(refusal(() => decodeValue(bytes)).message).toContain('outside its buffer');
  });
});

import { describe, expect, test } from 'vitest';

import { decodeValue, encodeValue, FUTURE } from '../../src/value/index.ts';
import { refusal } from '../refusal.ts';

class Future {
  readonly [FUTURE] = true;
  readonly key: string;
  readonly callback = (): void => {}; // never looked at
  constructor(key: string) {
    this.key = key;
  }
}

/** One that has the mark on its prototype. */
class Inherited {
  get [FUTURE](): boolean {
    return true;
  }
}

describe('futures', () => {
  test('are collected once each, in order of first appearance, and replaced anywhere', () => {
    const [a, b, c] = [new Future('a'), new Future('b'), new Inherited()];
    const value = {
      list: [b, [a]],
      map: new Map<unknown, unknown>([
        [a, b],
        ['k', { deep: c }],
      ]),
      set: new Set([c]),
      error: new Error('e', { cause: a }),
    };
    const { bytes, references } = encodeValue(value);
    expect(references).toStrictEqual([b, a, c]);
    const arrived = decodeValue(bytes, ['B', 'A', 'C']);
    expect(arrived).toEqual({
      list: ['B', ['A']],
      map: new Map<unknown, unknown>([
        ['A', 'B'],
        ['k', { deep: 'C' }],
      ]),
      set: new Set(['C']),
      error: new Error('e', { cause: 'A' }),
    });
  });

  test('may be the value itself', () => {
    const future = new Future('a');
    const { bytes, references } = encodeValue(future);
    expect(references).toStrictEqual([future]);
    expect(decodeValue(bytes, [undefined])).toBeUndefined();
  });

  test('of one result give one object at every place', () => {
    const future = new Future('a');
    const result = { n: 1 };
    // SAFE: a list was encoded
    const arrived = decodeValue(encodeValue([future, future]).bytes, [result]) as unknown[];
    expect(arrived[0]).toBe(result);
    expect(arrived[1]).toBe(result);
  });

  test('do not disturb the identity of the objects around them', () => {
    const shared = {};
    const { bytes } = encodeValue([new Future('a'), shared, new Future('b'), shared]);
    // SAFE: a list was encoded
    const arrived = decodeValue(bytes, [{}, {}]) as unknown[];
    expect(arrived[3]).toBe(arrived[1]);
    expect(arrived[3]).not.toBe(arrived[0]);
  });

  test('by the thousand', () => {
    const futures = Array.from({ length: 5_000 }, (_, index) => new Future(String(index)));
    const { bytes, references } = encodeValue([...futures, ...futures]);
    expect(references).toStrictEqual(futures);
    const arrived = decodeValue(
      bytes,
      futures.map((_, index) => index),
    );
    const indices = futures.map((_, index) => index);
    expect(arrived).toStrictEqual([...indices, ...indices]);
  });

  test('leave no trace in the next value', () => {
    encodeValue([new Future('a')]);
    expect(encodeValue([{}]).references).toStrictEqual([]);
  });

  test('are refused where they are not allowed, with the path', () => {
    const error = refusal(() =>
      encodeValue([1, new Future('a')], { what: 'result', futures: false }),
    );
    expect(error.code).toBe('ERR_VALUE');
    expect(error.message).toMatch(/^result\[1\]: a future cannot be part of a result/u);
  });

  test('without a result on decoding are an error', () => {
    const { bytes } = encodeValue([new Future('a'), new Future('b')]);
    expect(refusal(() => decodeValue(bytes, ['A'])).message).toContain('the result of future 1');
  });
});

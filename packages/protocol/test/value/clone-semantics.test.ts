import { runInNewContext } from 'node:vm';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';

import { arrivesAsClone, nestedArrays, roundTrip } from './round-trip.ts';

class Point {
  readonly x = 1;
  readonly #hidden = 2;
  get sum(): number {
    return this.x + this.#hidden;
  }
}

class Tagged {
  readonly a = 1;
  get [Symbol.toStringTag](): string {
    return 'Map';
  }
}

const typedArrays = [
  Int8Array,
  Uint8Array,
  Uint8ClampedArray,
  Int16Array,
  Uint16Array,
  Int32Array,
  Uint32Array,
  Float32Array,
  Float64Array,
];

function ownProtoKey(): unknown {
  return JSON.parse('{"__proto__":{"polluted":true},"constructor":1,"prototype":2}');
}

function manyKeys(): unknown {
  return Object.fromEntries(Array.from({ length: 70_000 }, (_, index) => [`key ${index}`, index]));
}

function longSparse(): unknown[] {
  const array: unknown[] = [1, 2];
  array[5_000] = 'x';
  array[4_294_967_294] = 'last';
  return array;
}

describe('arrives as structuredClone would make it', () => {
  test.each<[string, unknown]>([
    ['undefined', undefined],
    ['null', null],
    ['true', true],
    ['false', false],
    ['integers of every width', [0, 1, 127, 128, -1, -128, -129, 32_767, 32_768, -32_769, 2 ** 31]],
    ['integers beyond 32 bits', [2 ** 31 - 1, -(2 ** 31), -(2 ** 31) - 1, 2 ** 53, -(2 ** 53)]],
    ['-0 within values', [-0, { zero: -0 }, new Set([0])]],
    ['NaN and infinities', [Number.NaN, Infinity, -Infinity, Number.MIN_VALUE]],
    ['bigint of 64 bits', [0n, -1n, 2n ** 63n - 1n, -(2n ** 63n)]],
    ['bigint of more than 64 bits', [2n ** 63n, -(2n ** 63n) - 1n, 3n ** 500n, -(7n ** 501n)]],
    [
      'strings of each encoding',
      ['', 'ascii', 'é', '漢字', '😀', 'x'.repeat(100), 'é'.repeat(100)],
    ],
    ['lone surrogates', ['\ud800', 'a\udc00b', `${'x'.repeat(50)}\udfff`]],
    ['a long wide string', '漢'.repeat(100_000)],
    ['dates, valid or not', [new Date(0), new Date(-1), new Date(Number.NaN)]],
    ['RegExp', [/a(b)\/c/giu, /x/, new RegExp('')]],
    ['boxed primitives', [Object(1), Object(-0), Object('text'), Object(false), Object(5n)]],
    [
      'Map with keys of any kind',
      new Map<unknown, unknown>([
        [{ a: 1 }, 1],
        [NaN, 2],
        ['k', []],
      ]),
    ],
    ['Set', new Set<unknown>([1, '1', { a: [] }, new Set([2])])],
    ['dense arrays', [[], [1], Array.from({ length: 300 }, (_, index) => index), [undefined]]],
    // oxlint-disable-next-line no-sparse-arrays
    ['arrays with holes', [[1, , 3], [,], Object.assign([], { length: 2_000 })]],
    ['a very sparse array', longSparse()],
    ['arrays with properties', [Object.assign([1, 2], { extra: 3, '-1': 4 }), 'ab'.match(/b/)]],
    [
      'a long array with properties',
      Object.assign(
        Array.from({ length: 500 }, () => 1),
        { x: 1 },
      ),
    ],
    ['a subclass of Array', new (class List extends Array<number> {})(1, 2)],
    ['plain objects', { a: 1, 'b c': { d: [] }, 7: 'x', ['x'.repeat(50)]: 1, é: 1, 漢: 2 }],
    ['own keys __proto__, constructor and prototype', ownProtoKey()],
    ['an object of 70,000 keys', manyKeys()],
    ['an object without prototype', Object.assign(Object.create(null), { a: 1 })],
    ['an instance of a class', [new Point(), new Tagged()]],
    ['properties behind symbols or not enumerable', hiddenProperties()],
    [
      'an object with a getter',
      {
        get now(): number {
          return 5;
        },
      },
    ],
    ['a getter that deletes what follows', deletesWhatFollows()],
    ['ArrayBuffer', new Uint8Array([1, 2, 3]).buffer],
    ['typed arrays', typedArrays.map((made) => made.from([1, 2, 3]))],
    ['bigint arrays', [BigInt64Array.of(-1n, 2n), BigUint64Array.of(2n ** 64n - 1n)]],
    ['empty typed arrays', typedArrays.map((made) => new made(0))],
    ['DataView', new DataView(new Uint8Array([1, 2, 3, 4]).buffer)],
    ['large typed arrays', [new Float64Array(1_000).fill(2.5), new Uint8Array(5_000).fill(9)]],
    ['objects of another realm', runInNewContext('({ a: [new Date(3)], m: new Map([[1, {}]]) })')],
    ['errors of every class', [new Error('a'), new TypeError('b'), new RangeError('c')]],
    [
      'fs.Stats-like instances with methods on the prototype',
      new (class {
        size = 3;
        isFile() {}
      })(),
    ],
  ])('%s', (_name, value) => {
    expect(arrivesAsClone(value)).toBe(true);
  });

  test('Float16Array, where the engine has it', () => {
    const made: unknown = Reflect.get(globalThis, 'Float16Array');
    if (typeof made !== 'function') return;
    expect(arrivesAsClone(Reflect.construct(made, [[1.5, -2]]))).toBe(true);
  });

  test('-0 itself', () => {
    expect(Object.is(roundTrip(-0), -0)).toBe(true);
  });

  test('an own key __proto__ pollutes nothing and stays an own property', () => {
    // SAFE: an object was encoded
    const arrived = roundTrip(ownProtoKey()) as object;
    expect(Object.keys(arrived)).toStrictEqual(['__proto__', 'constructor', 'prototype']);
    expect(Object.getPrototypeOf(arrived)).toBe(Object.prototype);
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });

  test('an instance of a class is a plain object afterwards', () => {
    expect(Object.getPrototypeOf(roundTrip(new Point()))).toBe(Object.prototype);
  });

  test('a Buffer is a Uint8Array afterwards', () => {
    const arrived = roundTrip(Buffer.from('abc'));
    expect(arrived).toStrictEqual(new Uint8Array([97, 98, 99]));
    expect(Buffer.isBuffer(arrived)).toBe(false);
  });

  test('a hole stays a hole, and undefined stays undefined', () => {
    // oxlint-disable-next-line no-sparse-arrays
    const arrived = roundTrip([undefined, , 1]) as unknown[]; // SAFE: an array was encoded
    expect(Object.keys(arrived)).toStrictEqual(['0', '2']);
  });

  test('cycles', () => {
    interface Node {
      readonly name: string;
      readonly links: Map<string, Node>;
      readonly all: Set<unknown>;
      self?: Node;
    }
    const node: Node = { name: 'n', links: new Map(), all: new Set() };
    node.self = node;
    node.links.set('me', node);
    node.all.add(node.links).add([node]);
    // SAFE: the shape is what the test is about
    const arrived = roundTrip(node) as Node;
    expect(arrived).not.toBe(node);
    expect(arrived.self).toBe(arrived);
    expect(arrived.links.get('me')).toBe(arrived);
    expect(arrived.all.has(arrived.links)).toBe(true);
  });

  test('the same object twice is one object afterwards, also among many', () => {
    const shared: object[] = [
      new Date(1),
      {},
      new Map(),
      new Error('e'),
      new Set([1]),
      /x/,
      Buffer.from('q'),
    ];
    const filler = Array.from({ length: 100 }, () => ({}));
    // SAFE: the shape is what the test is about
    const arrived = roundTrip([shared, filler, ...shared]) as [unknown[], unknown[], ...unknown[]];
    expect(arrived.slice(2)).toHaveLength(shared.length);
    for (const [index, item] of arrived.slice(2).entries()) expect(item).toBe(arrived[0][index]);
    expect(new Set([arrived[1], ...arrived[1]]).size).toBe(101);
  });

  test('the deepest nesting that is allowed', () => {
    expect(arrivesAsClone(nestedArrays(1_000))).toBe(true);
  });

  test('a getter may itself encode a value', () => {
    expect(
      roundTrip({
        get inner(): unknown {
          return roundTrip([1, { a: 2 }]);
        },
        b: 3,
      }),
    ).toEqual({
      inner: [1, { a: 2 }],
      b: 3,
    });
  });

  test('any value of data', () => {
    const anything = fc.anything({
      withBigInt: true,
      withBoxedValues: true,
      withDate: true,
      withMap: true,
      withSet: true,
      withNullPrototype: true,
      withSparseArray: true,
      withTypedArray: true,
      withUnicodeString: true,
    });
    const property = fc.property(anything, (value) => {
      expect(arrivesAsClone(value)).toBe(true);
    });
    fc.assert(property, { numRuns: 1_000 });
  });

  test('any string', () => {
    const text = fc.array(fc.nat({ max: 0xffff }), { maxLength: 60 });
    const property = fc.property(text, (units) => {
      const string = String.fromCharCode(...units);
      expect(roundTrip(string)).toBe(string);
      expect(arrivesAsClone({ [string]: string })).toBe(true);
    });
    fc.assert(property, { numRuns: 500 });
  });

  test('any number and bigint', () => {
    const property = fc.property(fc.double(), fc.bigInt(), (number, bigint) => {
      expect(arrivesAsClone([number, bigint])).toBe(true);
    });
    fc.assert(property);
  });
});

function hiddenProperties(): unknown {
  const value: object = { a: 1, [Symbol('s')]: 2 };
  return Object.defineProperty(value, 'hidden', { value: 3, enumerable: false });
}

function deletesWhatFollows(): unknown {
  const make = (): object => ({
    get a(): number {
      Reflect.deleteProperty(this, 'b');
      return 1;
    },
    b: 2,
    c: 3,
  });
  return make();
}

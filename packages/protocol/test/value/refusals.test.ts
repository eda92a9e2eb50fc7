import { createHmac, createSecretKey } from 'node:crypto';
import { Socket } from 'node:net';
import * as os from 'node:os';
import { Readable } from 'node:stream';
import { describe, expect, test } from 'vitest';

import { FarmError } from '../../src/core/errors.ts';
import { decodeValue, encodeValue } from '../../src/value/index.ts';
import { refusal } from '../refusal.ts';
import { nestedArrays } from './round-trip.ts';

function messageFor(value: unknown, what = 'argument 0'): string {
  const error = refusal(() => encodeValue(value, { what }));
  expect(error).toBeInstanceOf(FarmError);
  expect(error.code).toBe('ERR_VALUE');
  return error.message;
}

function detached(): ArrayBuffer {
  const buffer = new ArrayBuffer(8);
  structuredClone(buffer, { transfer: [buffer] });
  return buffer;
}

function detachedView(): Uint8Array {
  const view = new Uint8Array(8);
  structuredClone(view.buffer, { transfer: [view.buffer] });
  return view;
}

function outOfBounds(): Uint8Array {
  const buffer = new ArrayBuffer(8, { maxByteLength: 8 });
  const view = new Uint8Array(buffer, 4, 4);
  buffer.resize(2);
  return view;
}

function* generator(): Generator<number> {
  yield 1;
}

async function* asyncGenerator(): AsyncGenerator<number> {
  yield await Promise.resolve(1);
}

/** `[1].values().map(String)`, in words the types know. */
function iteratorHelper(): unknown {
  const values = [1].values();
  const map: unknown = Reflect.get(values, 'map');
  return typeof map === 'function' ? Reflect.apply(map, values, [String]) : values;
}

function argumentsOf(..._items: unknown[]): unknown {
  return arguments;
}

describe('what cannot travel is refused', () => {
  test.each<[string, unknown, string]>([
    ['a function', () => 1, 'a function'],
    [
      'a class',
      class A {
        a = 1;
      },
      'a function',
    ],
    ['a symbol', Symbol('s'), 'a symbol'],
    ['a boxed symbol', Object(Symbol('s')), 'a symbol'],
    ['WeakMap', new WeakMap(), 'a WeakMap'],
    ['WeakSet', new WeakSet(), 'a WeakSet'],
    ['WeakRef', new WeakRef({}), 'a WeakRef'],
    ['FinalizationRegistry', new FinalizationRegistry(() => {}), 'FinalizationRegistry'],
    ['a Promise', Promise.resolve(1), 'a Promise'],
    ['a Proxy', new Proxy({}, {}), 'a Proxy'],
    ['a Proxy of an array', new Proxy([1], {}), 'a Proxy'],
    ['SharedArrayBuffer', new SharedArrayBuffer(8), 'a SharedArrayBuffer'],
    ['a view of one', new Uint8Array(new SharedArrayBuffer(8)), 'a SharedArrayBuffer'],
    ['a generator', generator(), 'a generator'],
    ['an async generator', asyncGenerator(), 'a generator'],
    ['an array iterator', [1].values(), 'an iterator'],
    ['a map iterator', new Map().entries(), 'an iterator'],
    ['an iterator helper', iteratorHelper(), 'an iterator'],
    ['arguments', argumentsOf(1, 2), 'an arguments object'],
    ['a detached buffer', detached(), 'detached'],
    ['a view of a detached buffer', detachedView(), 'detached'],
    ['a view outside its buffer', outOfBounds(), 'outside'],
    ['URL', new URL('http://host/'), 'a URL cannot travel; pass `url.href`'],
    ['URLSearchParams', new URLSearchParams('a=1'), 'a URLSearchParams'],
    ['Blob', new Blob(['x']), 'a Blob'],
    ['File', new File(['x'], 'name'), 'a File'],
    ['Headers', new Headers(), 'a Headers'],
    ['Response', new Response(), 'Response'],
    ['FormData', new FormData(), 'a FormData'],
    ['MessagePort', new MessageChannel().port1, 'MessagePort'],
    ['ReadableStream', new ReadableStream(), 'ReadableStream'],
    ['a Node stream', new Readable(), 'a stream'],
    ['a socket', new Socket(), 'a stream'],
    ['Hmac', createHmac('sha256', 'k'), 'a stream'],
    ['KeyObject', createSecretKey(Buffer.from('abc')), 'a KeyObject'],
    ['AbortController', new AbortController(), 'AbortController'],
    ['AbortSignal', new AbortController().signal, 'AbortSignal'],
    ['EventTarget', new EventTarget(), 'EventTarget'],
    ['a subclass of EventTarget', new (class Mine extends EventTarget {})(), 'EventTarget'],
    ['TextDecoder', new TextDecoder(), 'TextDecoder'],
    ['Intl formats', new Intl.NumberFormat(), 'NumberFormat'],
    ['Math', Math, 'a built-in namespace'],
    ['an object that only looks like a Map', Object.create(Map.prototype), 'Map'],
    ['a module', os, 'a module'],
  ])('%s', (_name, value, part) => {
    const message = messageFor(value);
    expect(message).toMatch(/^argument 0: /u);
    expect(message).toContain(part);
  });

  test('a bound class and a class on globalThis are the user’s own', () => {
    class Mine {
      readonly a = 1;
    }
    Reflect.set(globalThis, 'Mine', Mine);
    try {
      expect(decodeValue(encodeValue(new Mine()).bytes)).toStrictEqual({ a: 1 });
    } finally {
      Reflect.deleteProperty(globalThis, 'Mine');
    }
  });
});

describe('the message names the path', () => {
  const f = (): void => {};
  const error = Object.assign(new Error('e', { cause: { f } }), { code: 1 });
  test.each<[unknown, string]>([
    [{ options: { callback: f } }, 'argument 0.options.callback: '],
    [[1, 2, [f]], 'argument 0[2][0]: '],
    [new Map([['k', f]]), 'argument 0.get("k"): '],
    [new Map([[5, [f]]]), 'argument 0.get(5)[0]: '],
    [new Map([[{}, f]]), 'argument 0.values()[0]: '],
    [new Map([[f, 1]]), 'argument 0.keys()[0]: '],
    [new Set([1, { f }]), 'argument 0.values()[1].f: '],
    [{ 'a b': { 'c"': f } }, 'argument 0["a b"]["c\\""]: '],
    [error, 'argument 0.cause.f: '],
    [new AggregateError([1, f]), 'argument 0.errors[1]: '],
    [Object.assign(new Error('e'), { f }), 'argument 0.f: '],
    [Object.assign([1], { f }), 'argument 0.f: '],
    [Object.assign([], { 70_000: f }), 'argument 0[70000]: '],
  ])('%#: %o', (value, start) => {
    expect(messageFor(value).slice(0, start.length)).toBe(start);
  });

  test('with the name of the value', () => {
    expect(messageFor([f], 'result')).toMatch(/^result\[0\]: /u);
  });

  test('a long key and a long path are cut', () => {
    let deep: unknown = f;
    for (let level = 0; level < 500; level++) deep = { next: deep };
    expect(messageFor(deep)).toContain('.next.next…');
    expect(messageFor({ ['k'.repeat(10_000)]: f }).length).toBeLessThan(300);
  });
});

describe('getters that throw', () => {
  test.each<[string, unknown, string]>([
    [
      'of an object',
      {
        a: {
          get b(): number {
            throw new RangeError('no');
          },
        },
      },
      '.a.b: ',
    ],
    ['of an array', [1, Object.defineProperty([1, 2], 1, thrower())], '[1][1]: '],
    [
      'of a sparse array',
      Object.defineProperty(Object.assign([], { 9_000: 1 }), 5_000, thrower()),
      '[5000]: ',
    ],
  ])('%s', (_name, value, path) => {
    const error = refusal(() => encodeValue(value, { what: 'argument 1' }));
    expect(error.message).toContain(`argument 1${path}`);
    expect(error.cause).toEqual(new RangeError('no'));
  });
});

function thrower(): PropertyDescriptor {
  return {
    enumerable: true,
    get(): never {
      throw new RangeError('no');
    },
  };
}

describe('size', () => {
  test('of 4 GiB and more is refused', () => {
    const half = 2 ** 31;
    const value = { parts: [new ArrayBuffer(half), new ArrayBuffer(half)] }; // untouched, so virtual
    expect(messageFor(value)).toBe('argument 0: more than 4294967295 bytes when encoded');
  });
});

describe('depth', () => {
  test('of 1,001 is refused with the head of the path', () => {
    expect(messageFor(nestedArrays(1_001))).toMatch(/^argument 0\[0\]\[0\].*1000 levels/u);
  });

  test('of 100,000 does not overflow the stack', () => {
    expect(messageFor({ list: nestedArrays(100_000) })).toContain('1000 levels');
  });

  test('in a stack that is nearly used up is refused too', () => {
    const value = nestedArrays(1_000);
    const codes = new Set<unknown>();
    const sink = (): void => {
      try {
        sink();
      } catch {
        // At the end of the stack even making an error can fail; farther out it must not.
      }
      if (codes.size > 0) return;
      try {
        encodeValue(value);
      } catch (error) {
        if (error instanceof FarmError) codes.add(error.code);
      }
    };
    sink();
    expect([...codes]).toStrictEqual(['ERR_VALUE']);
    expect(decodeValue(encodeValue([1]).bytes)).toStrictEqual([1]);
  });
});

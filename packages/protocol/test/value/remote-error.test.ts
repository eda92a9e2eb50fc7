import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';
import { describe, expect, test } from 'vitest';

import { FarmError } from '../../src/core/errors.ts';
import { LIMITS } from '../../src/core/limits.ts';
import {
  decodeError,
  decodeValue,
  encodeError,
  encodeValue,
  errorText,
  FUTURE,
} from '../../src/value/index.ts';

class ParseError extends SyntaxError {
  readonly line: number;
  constructor(message: string, line: number) {
    super(message);
    this.name = 'ParseError';
    this.line = line;
  }
}

class SpawnError extends FarmError {
  readonly exitCode: number;
  constructor(exitCode: number) {
    super('ERR_COMMAND', `exit code ${exitCode}`, { key: 'solve-1', worker: 'w1' });
    this.name = 'SpawnError';
    this.exitCode = exitCode;
  }
}

function crossed(error: unknown): Error {
  return decodeError(encodeError(error));
}

/** Everything there is to see of an error, down its causes. */
function visible(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const own = Object.getOwnPropertyNames(error).toSorted();
  const shown = own.map((key) => {
    const value: unknown = Reflect.get(error, key);
    const enumerable = Object.prototype.propertyIsEnumerable.call(error, key);
    return [key, Array.isArray(value) ? value.map(visible) : visible(value), enumerable];
  });
  return { name: error.name, message: error.message, shown };
}

describe('an error arrives with its class, text, cause and fields', () => {
  test.each<[string, Error]>([
    ['Error', new Error('plain')],
    ['without message', new Error()], // oxlint-disable-line unicorn/error-message
    ['EvalError', new EvalError('e')],
    ['RangeError', new RangeError('e')],
    ['ReferenceError', new ReferenceError('e')],
    ['SyntaxError', new SyntaxError('e')],
    ['TypeError', new TypeError('e')],
    ['URIError', new URIError('e')],
    ['AggregateError', new AggregateError([new TypeError('a'), 'b', { c: 1 }], 'all')],
    ['with causes', new Error('a', { cause: new TypeError('b', { cause: { c: [1] } }) })],
    ['with the cause undefined', new Error('a', { cause: undefined })],
    ['with fields', Object.assign(new Error('a'), { code: 'ENOENT', errno: -2, data: new Map() })],
    ['with a name of its own', Object.assign(new Error('a'), { name: 'Custom' })],
    ['with an assigned cause', Object.assign(new Error('a'), { cause: 5 })],
    [
      'with a field named __proto__',
      Object.defineProperty(new Error('a'), '__proto__', { value: 1, enumerable: true }),
    ],
    [
      'of this library',
      new FarmError('ERR_LIMIT', 'too many', { key: 'k', cause: new Error('c') }),
    ],
  ])('%s', (_name, error) => {
    for (const arrived of [crossed(error), decodeValue(encodeValue(error).bytes)]) {
      expect(Object.getPrototypeOf(arrived)).toBe(Object.getPrototypeOf(error));
      expect(visible(arrived)).toStrictEqual(visible(error));
    }
  });

  test('a class of the user’s becomes the built-in class it extends, and keeps its name', () => {
    const arrived = crossed(new ParseError('bad', 12));
    expect(arrived).toBeInstanceOf(SyntaxError);
    expect(arrived).toMatchObject({ name: 'ParseError', message: 'bad', line: 12 });
  });

  test('a name from the prototype is kept', () => {
    class Named extends RangeError {
      override get name(): string {
        return 'Named';
      }
    }
    const arrived = crossed(new Named('m'));
    expect(arrived).toBeInstanceOf(RangeError);
    expect([arrived.name, Object.keys(arrived)]).toStrictEqual(['Named', []]);
  });

  test('an error of a subclass of FarmError is a FarmError with its fields', () => {
    const arrived = crossed(new SpawnError(3));
    expect(arrived).toBeInstanceOf(FarmError);
    expect(arrived).toMatchObject({
      name: 'SpawnError',
      code: 'ERR_COMMAND',
      key: 'solve-1',
      worker: 'w1',
      exitCode: 3,
    });
  });

  test('the stack is the original one', () => {
    const error = new Error('here');
    expect(crossed(error).stack).toBe(error.stack);
    expect(inspect(crossed(error))).toBe(inspect(error));
  });

  test('a DOMException', () => {
    const arrived = crossed(new DOMException('stopped', 'AbortError'));
    expect(arrived).toBeInstanceOf(DOMException);
    expect(arrived).toMatchObject({ name: 'AbortError', message: 'stopped', code: 20 });
  });

  test('an error of another realm', () => {
    const arrived = crossed(runInNewContext('new TypeError("elsewhere")'));
    expect(arrived).toBeInstanceOf(TypeError);
    expect(arrived.message).toBe('elsewhere');
  });

  test('a cycle of causes', () => {
    const error = new Error('a');
    error.cause = new Error('b', { cause: error });
    const arrived = crossed(error);
    expect(arrived.cause).toBeInstanceOf(Error);
    expect(Reflect.get(Object(arrived.cause), 'cause')).toBe(arrived);
  });
});

describe('encodeError never throws', () => {
  test.each<[unknown, string]>([
    ['text', 'the task threw a value that is not an Error: "text"'],
    [undefined, 'the task threw a value that is not an Error: undefined'],
    [{ status: 404 }, 'the task threw a value that is not an Error: { status: 404 }'],
    [Symbol('s'), 'the task threw a value that is not an Error: Symbol(s)'],
  ])('for %o', (thrown, message) => {
    expect(crossed(thrown).message).toBe(message);
  });

  test('and a thrown value that is not an Error is the cause', () => {
    expect(crossed({ status: 404 }).cause).toStrictEqual({ status: 404 });
    const named = decodeError(encodeError(7, { context: 'task x-1' }));
    expect(named.message).toBe('task x-1 threw a value that is not an Error: 7');
  });

  test('for a frozen error', () => {
    expect(crossed(Object.freeze(new Error('cold'))).message).toBe('cold');
  });

  test('for fields that cannot travel, of which a note says so', () => {
    const config = {
      url: 'http://h',
      transform: [(): void => {}],
      signal: new AbortController().signal,
    };
    const arrived = crossed(
      Object.assign(new Error('m'), { config, code: 'E', future: { [FUTURE]: 1 } }),
    );
    expect(Reflect.get(arrived, 'code')).toBe('E');
    expect(Reflect.get(arrived, 'config')).toStrictEqual({
      url: 'http://h',
      transform: ['[not sent: a function cannot travel inside a value; pass plain data]'],
      signal:
        '[not sent: an object of the built-in class AbortSignal cannot travel; pass plain data]',
    });
    expect(Reflect.get(arrived, 'future')).toContain('a future cannot be part of an error');
  });

  test('for getters that throw', () => {
    const error = new Error('kept');
    for (const key of ['extra', 'name', 'stack', 'cause']) {
      Object.defineProperty(error, key, {
        enumerable: true,
        get: () => {
          throw new Error('no');
        },
      });
    }
    const arrived = crossed(error);
    expect(arrived.message).toBe('kept');
    expect(Reflect.get(arrived, 'extra')).toContain('[not sent');
  });

  test('for proxies, whose traps may throw', () => {
    const traps = new Proxy(
      {},
      {
        get: () => () => {
          throw new Error('trap');
        },
      },
    );
    const hostile = new Proxy(new Error('inside'), traps);
    expect(crossed(hostile).message).toContain('a value that is not an Error');
    expect(crossed(Object.setPrototypeOf(new Error('kept'), hostile))).toBeInstanceOf(Error);
  });

  test('for a message of 100 MB, which is cut', () => {
    const error = new Error('x'.repeat(100_000_000));
    const bytes = encodeError(error);
    expect(bytes.length).toBeLessThan(4 * LIMITS.errorTextMax);
    const { message } = decodeError(bytes);
    expect(message).toMatch(/^x{10000}… \[99990000 more characters\]$/u);
  });

  test('for fields of any size, which are left out', () => {
    const huge = Array.from({ length: 300_000 }, (_, index) => ({ index }));
    const error = Object.assign(new TypeError('m'), { huge, data: new Uint8Array(1_000_000) });
    const bytes = encodeError(error);
    expect(bytes.length).toBeLessThan(300_000);
    expect(decodeError(bytes)).toMatchObject({
      name: 'TypeError',
      message: 'm',
      stack: error.stack,
    });
    expect(decodeError(bytes)).toBeInstanceOf(TypeError);
  });

  test('for a chain of causes beyond the limits', () => {
    let error = new Error('deepest');
    for (let level = 0; level < 5_000; level++) error = new Error(`${level}`, { cause: error });
    expect(crossed(error).message).toBe('4999');
  });
});

describe('decodeError', () => {
  test('gives a FarmError for bytes that are no error', () => {
    for (const bytes of [new Uint8Array([0xfe]), encodeValue('text').bytes]) {
      const error = decodeError(bytes);
      expect(error).toBeInstanceOf(FarmError);
      expect(error).toMatchObject({ code: 'ERR_VALUE' });
    }
  });
});

describe('errorText', () => {
  test.each<[unknown, string]>([
    [new TypeError('no\n  such   file'), 'TypeError: no such file'],
    [Object.assign(new Error('gone'), { code: 'ENOENT' }), 'Error [ENOENT]: gone'],
    [new Error('a', { cause: new RangeError('b') }), 'Error: a (RangeError: b)'],
    [new Error(), 'Error'], // oxlint-disable-line unicorn/error-message
    ['text', '"text"'],
    [undefined, 'undefined'],
  ])('%#', (error, text) => {
    expect(errorText(error)).toBe(text);
  });

  test('is one bounded line whatever is thrown', () => {
    const hostile = {
      get message(): string {
        throw new Error('no');
      },
    };
    const errors = [new Error('x\n'.repeat(1e6)), 'x'.repeat(1e6), hostile, Object.create(null)];
    for (const error of errors) {
      const text = errorText(error);
      expect(text.length).toBeLessThan(310);
      expect(text).not.toContain('\n');
    }
  });
});

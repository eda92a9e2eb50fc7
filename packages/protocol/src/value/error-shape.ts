import { FarmError } from '../core/errors.ts';

/**
 * How an error is laid out after `Tag.error`:
 * u8 class, u8 parts present, u8 parts enumerable, then name, message and stack as items where
 * present, then cause and errors where present, then (key, item)* `end` for the other fields.
 */
export const ErrorPart = { name: 1, message: 2, stack: 4, cause: 8, errors: 16 } as const;

/** All of {@link ErrorPart}. */
export const ERROR_PARTS_MASK = 31;

/** The classes that errors are rebuilt as, in the order of their numbers in the format. */
export const ERROR_CLASSES = [
  'Error',
  'EvalError',
  'RangeError',
  'ReferenceError',
  'SyntaxError',
  'TypeError',
  'URIError',
  'AggregateError',
  'DOMException',
  'FarmError',
] as const;

/** One of {@link ERROR_CLASSES}. */
export type ErrorClass = (typeof ERROR_CLASSES)[number];

/** The built-in class an error is an instance of, however far up. */
export function errorClassOf(error: object): ErrorClass {
  if (error instanceof FarmError) return 'FarmError';
  let prototype = Reflect.getPrototypeOf(error);
  while (prototype !== null) {
    // By name, since an error may come from another realm.
    const made: unknown = Object.getOwnPropertyDescriptor(prototype, 'constructor')?.value;
    if (typeof made === 'function') {
      const index = ERROR_CLASSES.findIndex((name) => name === made.name);
      if (index >= 0) return ERROR_CLASSES[index] ?? 'Error';
    }
    prototype = Reflect.getPrototypeOf(prototype);
  }
  return 'Error';
}

/** The `name` that an instance of the class has without one of its own. */
export function inheritedName(errorClass: ErrorClass): string {
  return errorClass === 'FarmError' ? 'Error' : errorClass;
}

/** An empty error of the class. A DOMException takes its name and message only here. */
export function blankError(errorClass: ErrorClass, name: string, message: string): Error {
  switch (errorClass) {
    case 'EvalError':
      return new EvalError();
    case 'RangeError':
      return new RangeError();
    case 'ReferenceError':
      return new ReferenceError();
    case 'SyntaxError':
      return new SyntaxError();
    case 'TypeError':
      return new TypeError();
    case 'URIError':
      return new URIError();
    case 'AggregateError':
      return new AggregateError([]);
    case 'DOMException':
      return new DOMException(message, name);
    case 'FarmError':
      return new FarmError('ERR_INTERNAL', message);
    default:
      return new Error();
  }
}

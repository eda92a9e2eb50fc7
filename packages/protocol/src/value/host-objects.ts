import { Stream } from 'node:stream';
import { types } from 'node:util';

/**
 * What to do instead, by the name of the class. Classes that are not listed and cannot travel get
 * a general sentence.
 */
const ADVICE: Readonly<Record<string, string>> = {
  AsyncGenerator: 'an async generator cannot travel; collect its items into an array',
  Blob: 'a Blob cannot travel; pass `new Uint8Array(await blob.arrayBuffer())`',
  Event: 'an Event cannot travel; pass the fields that matter',
  File: 'a File cannot travel; pass `new Uint8Array(await file.arrayBuffer())`',
  FormData: 'a FormData cannot travel; pass `[...form]`',
  Generator: 'a generator cannot travel; collect its items into an array',
  Headers: 'a Headers cannot travel; pass `[...headers]`',
  Iterator: 'an iterator cannot travel; collect its items into an array',
  KeyObject: 'a KeyObject cannot travel; pass what its `export()` returns',
  Promise: 'a Promise cannot travel; await it first',
  Proxy: 'a Proxy cannot travel; pass a plain copy of it',
  SharedArrayBuffer: 'a SharedArrayBuffer cannot travel, since memory is not shared; pass a copy',
  Stream: 'a stream cannot travel; read it first, or pass the path of a file',
  URL: 'a URL cannot travel; pass `url.href`',
  URLSearchParams: 'a URLSearchParams cannot travel; pass `String(params)`',
  WeakMap: 'a WeakMap cannot travel; pass a Map',
  WeakRef: 'a WeakRef cannot travel; pass its target',
  WeakSet: 'a WeakSet cannot travel; pass a Set',
};

/** The sentence for an object of the class `name` that cannot travel. */
export function adviceFor(name: string): string {
  return Object.hasOwn(ADVICE, name)
    ? String(ADVICE[name])
    : `an object of the built-in class ${name} cannot travel; pass plain data`;
}

const judgedPrototypes = new WeakMap<object, string>();

/**
 * Whether instances of a prototype hide state in a built-in class: the name of that class, or
 * `''` where there is none, so that own properties are all there is. Remembered per prototype.
 */
export function builtinClassOf(prototype: object | null): string {
  if (prototype === null) return '';
  const known = judgedPrototypes.get(prototype);
  if (known !== undefined) return known;
  const name = judge(prototype);
  judgedPrototypes.set(prototype, name);
  return name;
}

/**
 * Why an object that is none of the kinds the format knows cannot travel, or undefined where its
 * own properties say it all.
 *
 * Structured clone would turn many of these into `{}`.
 */
export function whyRefused(value: object): string | undefined {
  if (types.isGeneratorObject(value)) return adviceFor('Generator');
  if (types.isPromise(value)) return adviceFor('Promise');
  if (types.isArgumentsObject(value)) return 'an arguments object cannot travel; pass an array';
  if (types.isModuleNamespaceObject(value)) return 'a module cannot travel; pass what it exports';
  if (types.isKeyObject(value)) return adviceFor('KeyObject');
  const name = builtinClassOf(Reflect.getPrototypeOf(value));
  if (name !== '') return adviceFor(name);
  return isBuiltinNamespace(value) ? 'a built-in namespace cannot travel' : undefined;
}

function judge(prototype: object): string {
  if (prototype === Stream.prototype || prototype instanceof Stream) return 'Stream';
  let current: object | null = prototype;
  while (current !== null) {
    const parent = Reflect.getPrototypeOf(current);
    // The end of a chain is Object.prototype, perhaps of another realm, or made by the user.
    if (parent === null) return '';
    const name = builtinName(current);
    if (name !== '') return name;
    current = parent;
  }
  return '';
}

function builtinName(prototype: object): string {
  // Node's own mark of objects that it clones or transfers between threads in its own way.
  const symbols = Object.getOwnPropertySymbols(prototype);
  const isNodes = symbols.some((symbol) => symbol.description?.startsWith('messaging_') === true);
  const made: unknown = Reflect.get(prototype, 'constructor');
  if (typeof made !== 'function' || !Object.hasOwn(prototype, 'constructor')) {
    return isNodes ? 'of Node' : '';
  }
  return isNodes || isBuiltinGlobal(made) || isNative(made) ? made.name : '';
}

/** Built-in globals are not enumerable; what a program assigns to `globalThis` is. */
function isBuiltinGlobal(made: { readonly name: string }): boolean {
  const property = Object.getOwnPropertyDescriptor(globalThis, made.name);
  return property !== undefined && property.enumerable !== true && property.value === made;
}

function isNative(made: object): boolean {
  const text = Function.prototype.toString.call(made);
  const name: unknown = Reflect.get(made, 'name');
  return text.endsWith('{ [native code] }') && !String(name).startsWith('bound ');
}

/** Math, JSON, Intl, … */
function isBuiltinNamespace(value: object): boolean {
  const tag: unknown = Reflect.get(value, Symbol.toStringTag);
  if (typeof tag !== 'string') return false;
  const property = Object.getOwnPropertyDescriptor(globalThis, tag);
  return property !== undefined && property.enumerable !== true && property.value === value;
}

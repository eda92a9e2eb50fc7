import type { Future } from './future.ts';

/** Any function; its parameters and result are inferred where one is submitted. */
export type AnyFunction = (...args: never[]) => unknown;

/** Values that are taken as they are: futures are not looked for inside them. */
type Leaf =
  | string
  | number
  | bigint
  | boolean
  | symbol
  | null
  | undefined
  | Date
  | RegExp
  | Error
  | URL
  | ArrayBuffer
  | SharedArrayBuffer
  | ArrayBufferView
  | AnyFunction;

/** What may be passed where a task takes a `T`: the value, a future of it, or futures inside it. */
export type Argument<T> =
  | T
  | Future<T>
  | (T extends Leaf
      ? never
      : T extends ReadonlyMap<infer K, infer V>
        ? ReadonlyMap<K, Argument<V>>
        : T extends ReadonlySet<infer V>
          ? ReadonlySet<Argument<V>>
          : T extends object
            ? { readonly [P in keyof T]: Argument<T[P]> }
            : never);

/** A value, or a future of it. */
export type FutureOr<T> = T | Future<T>;

/** What may be passed to a function with parameters `A`. */
export type Arguments<A extends readonly unknown[]> = { [I in keyof A]: Argument<A[I]> };

/** One iterable for each parameter of `A`. */
export type Iterables<A extends readonly unknown[]> = {
  [I in keyof A]: Iterable<Argument<A[I]>>;
};

/** A nested container with every `Future<T>` in it replaced by `T`. */
export type Gathered<T> =
  T extends Future<infer V>
    ? V
    : T extends Leaf
      ? T
      : T extends ReadonlyMap<infer K, infer V>
        ? Map<K, Gathered<V>>
        : T extends ReadonlySet<infer V>
          ? Set<Gathered<V>>
          : T extends object
            ? { -readonly [P in keyof T]: Gathered<T[P]> }
            : T;

/** As {@link Gathered}, where futures that failed are left out of the containers they were in. */
export type GatheredSkipping<T> =
  T extends Future<infer V>
    ? V | undefined
    : T extends Leaf
      ? T
      : T extends ReadonlyMap<infer K, infer V>
        ? Map<K, SkippingEntry<V>>
        : T extends ReadonlySet<infer V>
          ? Set<SkippingEntry<V>>
          : T extends readonly (infer E)[]
            ? SkippingEntry<E>[]
            : T extends object
              ? {
                  -readonly [P in keyof T as T[P] extends Future ? never : P]: SkippingEntry<T[P]>;
                } & {
                  -readonly [P in keyof T as T[P] extends Future ? P : never]?: SkippingEntry<T[P]>;
                }
              : T;

type SkippingEntry<T> = T extends Future<infer V> ? V : GatheredSkipping<T>;

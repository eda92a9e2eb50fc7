import { Future } from './future.ts';

/** What takes the place of a future; `undefined` drops its entry from the container. */
export type Substitute = (future: Future) => { readonly value: unknown } | undefined;

/** Finds the futures inside nested arrays, plain objects, Maps (their values) and Sets. */
export function futuresIn(root: unknown): Future[] {
  if (isFlat(root)) return root;
  const found: Future[] = [];
  const seen = new Set<object>();
  const visit = (value: unknown): void => {
    if (Future.isFuture(value)) found.push(value);
    else if (isContainer(value) && !seen.has(value)) {
      seen.add(value);
      for (const item of itemsOf(value)) visit(item);
    }
  };
  visit(root);
  return found;
}

/** Copies nested containers with something else in the place of each future. */
export function substitute(root: unknown, replace: Substitute): unknown {
  const copies = new Map<object, unknown>();
  const copy = (value: unknown): { readonly value: unknown } | undefined => {
    if (Future.isFuture(value)) return replace(value);
    if (!isContainer(value)) return { value };
    const known = copies.get(value);
    if (known !== undefined) return { value: known };
    return { value: copyContainer(value) };
  };
  const copyContainer = (container: Container): unknown => {
    if (Array.isArray(container)) {
      const result: unknown[] = [];
      copies.set(container, result);
      for (const item of container) {
        const entry = copy(item);
        if (entry !== undefined) result.push(entry.value);
      }
      return result;
    }
    if (container instanceof Set) {
      const result = new Set<unknown>();
      copies.set(container, result);
      for (const item of container) {
        const entry = copy(item);
        if (entry !== undefined) result.add(entry.value);
      }
      return result;
    }
    if (container instanceof Map) {
      const result = new Map<unknown, unknown>();
      copies.set(container, result);
      for (const [key, item] of container) {
        const entry = copy(item);
        if (entry !== undefined) result.set(key, entry.value);
      }
      return result;
    }
    const result: Record<string, unknown> = {};
    copies.set(container, result);
    for (const [name, item] of Object.entries(container)) {
      const entry = copy(item);
      // Defined, not assigned: `__proto__` is a name like any other.
      if (entry !== undefined) {
        Object.defineProperty(result, name, {
          value: entry.value,
          configurable: true,
          enumerable: true,
          writable: true,
        });
      }
    }
    return result;
  };
  return copy(root)?.value;
}

type Container =
  | readonly unknown[]
  | ReadonlySet<unknown>
  | ReadonlyMap<unknown, unknown>
  | Readonly<Record<string, unknown>>;

/** An array of nothing but futures: by far the most common, and the longest. */
function isFlat(root: unknown): root is Future[] {
  return Array.isArray(root) && root.every((item) => Future.isFuture(item));
}

function isContainer(value: unknown): value is Container {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value) || value instanceof Map || value instanceof Set) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function itemsOf(container: Container): Iterable<unknown> {
  if (Array.isArray(container) || container instanceof Set) return container;
  if (container instanceof Map) return container.values();
  const values: readonly unknown[] = Object.values(container);
  return values;
}

/** Beyond this many a `Set` is worth its cost. */
const LISTED_MAX = 8;

/**
 * A set that costs nothing while it is empty or holds one item, and little while it holds a few, as
 * most sets of a task do: a million tasks with one holder each need no million `Set` objects.
 */
export type OneOrMany<T extends object> = T | T[] | Set<T> | null;

/** The set with `item` in it; to be stored in place of `items`. */
export function withItem<T extends object>(items: OneOrMany<T>, item: T): OneOrMany<T> {
  if (items === null || items === item) return item;
  if (isSet(items)) return items.add(item);
  if (!isList(items)) return [items, item];
  if (items.includes(item)) return items;
  if (items.length >= LISTED_MAX) return new Set(items).add(item);
  // A list that is pushed to gets room for many more.
  return items.concat(item);
}

/** The set without `item`; to be stored in place of `items`. */
export function withoutItem<T extends object>(items: OneOrMany<T>, item: T): OneOrMany<T> {
  if (items === null || items === item) return null;
  if (isSet(items)) {
    items.delete(item);
    if (items.size > 1) return items;
    for (const only of items) return only;
    return null;
  }
  if (!isList(items)) return items;
  const at = items.indexOf(item);
  if (at >= 0) items.splice(at, 1);
  return items.length > 1 ? items : (items[0] ?? null);
}

/** Whether `item` is in the set. */
export function hasItem<T extends object>(items: OneOrMany<T>, item: T): boolean {
  if (items === null) return false;
  if (isSet(items)) return items.has(item);
  return isList(items) ? items.includes(item) : items === item;
}

/** How many items the set holds. */
export function itemCount<T extends object>(items: OneOrMany<T>): number {
  if (items === null) return 0;
  if (isSet(items)) return items.size;
  return isList(items) ? items.length : 1;
}

/** The items in order of insertion. The set is not to be changed until the last was seen. */
export function eachItem<T extends object>(items: OneOrMany<T>): Iterable<T> {
  if (items === null) return [];
  return isSet(items) || isList(items) ? items : [items];
}

/** The item that was inserted first. */
export function firstItem<T extends object>(items: OneOrMany<T>): T | undefined {
  if (items === null) return undefined;
  if (isList(items)) return items[0];
  if (!isSet(items)) return items;
  for (const first of items) return first;
  return undefined;
}

function isSet<T extends object>(items: T | T[] | Set<T>): items is Set<T> {
  return items instanceof Set;
}

function isList<T extends object>(items: T | T[]): items is T[] {
  return Array.isArray(items);
}

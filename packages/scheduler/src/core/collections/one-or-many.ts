/**
 * A set that costs nothing while it is empty or holds one item, as most sets of a task do: a
 * million tasks with one holder each need no million `Set` objects.
 */
export type OneOrMany<T extends object> = T | Set<T> | null;

/** The set with `item` in it; to be stored in place of `items`. */
export function withItem<T extends object>(items: OneOrMany<T>, item: T): OneOrMany<T> {
  if (items === null || items === item) return item;
  if (isMany(items)) return items.add(item);
  return new Set([items, item]);
}

/** The set without `item`; to be stored in place of `items`. */
export function withoutItem<T extends object>(items: OneOrMany<T>, item: T): OneOrMany<T> {
  if (items === null || items === item) return null;
  if (!isMany(items)) return items;
  items.delete(item);
  if (items.size > 1) return items;
  for (const only of items) return only;
  return null;
}

/** Whether `item` is in the set. */
export function hasItem<T extends object>(items: OneOrMany<T>, item: T): boolean {
  if (items === null) return false;
  return isMany(items) ? items.has(item) : items === item;
}

/** How many items the set holds. */
export function itemCount<T extends object>(items: OneOrMany<T>): number {
  if (items === null) return 0;
  return isMany(items) ? items.size : 1;
}

/** The items in order of insertion. */
export function eachItem<T extends object>(items: OneOrMany<T>): Iterable<T> {
  if (items === null) return [];
  return isMany(items) ? items : [items];
}

function isMany<T extends object>(items: T | Set<T>): items is Set<T> {
  return items instanceof Set;
}

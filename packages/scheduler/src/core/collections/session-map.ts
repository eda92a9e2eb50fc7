/** The least room; a power of two. */
const ROOM_MIN = 16;
/** Items are put into as many places times this at least: few have to be looked at. */
const PLACES_PER_ITEM = 3;

/**
 * Peers by the names of their sessions, in order of arrival. Each message that comes in asks for one
 * of thousands. A `Map` goes from a bucket to an entry and from that to a name, and each is somewhere
 * else in memory; here the name leads straight to the item, which will be needed anyway. Open
 * addressing, linear probing, and deletion as in `number-set.ts`.
 */
export class SessionMap<T extends { readonly session: string }> {
  #places: (T | null)[] = new Array<T | null>(ROOM_MIN).fill(null);
  readonly #items = new Set<T>();

  get size(): number {
    return this.#items.size;
  }

  get(session: string): T | undefined {
    return this.#places[this.#find(session)] ?? undefined;
  }

  /** Adds an item. There is none of its session. */
  add(item: T): void {
    this.#items.add(item);
    if (this.#items.size * PLACES_PER_ITEM > this.#places.length) this.#grow();
    else this.#places[this.#find(item.session)] = item;
  }

  /** Takes an item out. Tells whether it was there. */
  delete(session: string): boolean {
    const places = this.#places;
    const mask = places.length - 1;
    let hole = this.#find(session);
    const found = places[hole] ?? null;
    if (found === null) return false;
    this.#items.delete(found);
    for (let at = (hole + 1) & mask; ; at = (at + 1) & mask) {
      const next = places[at] ?? null;
      if (next === null) break;
      // It may move only if its own place is not between the hole and where it is.
      if (((at - hashOf(next.session)) & mask) < ((at - hole) & mask)) continue;
      places[hole] = next;
      hole = at;
    }
    places[hole] = null;
    return true;
  }

  /** The items, in order of arrival. Any may be taken out meanwhile. */
  values(): Iterable<T> {
    return this.#items.values();
  }

  /** Where the item of a session is, or would be put. */
  #find(session: string): number {
    const places = this.#places;
    const mask = places.length - 1;
    let at = hashOf(session) & mask;
    for (;;) {
      const there = places[at] ?? null;
      if (there === null || there.session === session) return at;
      at = (at + 1) & mask;
    }
  }

  #grow(): void {
    this.#places = new Array<T | null>(this.#places.length * 2).fill(null);
    for (const item of this.#items) this.#places[this.#find(item.session)] = item;
  }
}

/** FNV-1a, with its upper bits mixed into the lower ones, which are those that count. */
function hashOf(name: string): number {
  let hash = 0x811c9dc5 | 0;
  for (let at = 0; at < name.length; at++) hash = Math.imul(hash ^ name.charCodeAt(at), 0x01000193);
  return hash ^ (hash >>> 15);
}

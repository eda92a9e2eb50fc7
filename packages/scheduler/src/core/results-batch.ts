import { results } from '@farm/protocol/core';
import type { Results } from '@farm/protocol/core';

import type { TaskState } from './state.ts';

/** Entries and bytes of values after which a message is full and another is begun. */
const ENTRIES_MAX = 65_536;
const BYTES_MAX = 4_194_304;
/** Workers that are searched one by one; with more, an index is made. */
const SEARCHED_MAX = 16;
const NO_BYTES = new Uint8Array(0);

/** Results for one client, growing. */
export class ResultsBatch {
  readonly #ids: number[];
  readonly #sizes: number[];
  readonly #ends: number[];
  readonly #durationsUs: number[];
  readonly #ranOn: number[];
  readonly #workers: string[];
  /** Places in `workers`, once there are many. */
  #places: Map<string, number> | null = null;
  /** Values, up to `#end`. While there is but one, a view of where it is. */
  #bytes: Uint8Array = NO_BYTES;
  #end = 0;
  #isView = false;

  /** The first result; `value` from `start` to `end` where it is at hand. Many are the only one. */
  constructor(id: number, task: TaskState, value: Uint8Array | null, start: number, end: number) {
    if (value !== null) {
      this.#bytes = value.subarray(start, end);
      this.#end = end - start;
      this.#isView = true;
    }
    this.#ids = [id];
    this.#sizes = [task.size];
    this.#ends = [this.#end];
    this.#durationsUs = [task.durationUs];
    this.#ranOn = [0];
    this.#workers = [task.ranOn];
  }

  /** Whether another message is to be begun. */
  get isFull(): boolean {
    return this.#ids.length >= ENTRIES_MAX || this.#end >= BYTES_MAX;
  }

  /** One more; `value` from `start` to `end` where it is at hand. */
  add(id: number, task: TaskState, value: Uint8Array | null, start: number, end: number): void {
    this.#ids.push(id);
    this.#sizes.push(task.size);
    this.#durationsUs.push(task.durationUs);
    if (value !== null) this.#append(value, start, end);
    this.#ends.push(this.#end);
    let worker = this.#workers.length - 1;
    if (this.#workers[worker] !== task.ranOn) worker = this.#place(task.ranOn);
    this.#ranOn.push(worker);
  }

  /** The message. */
  build(): Results {
    return results({
      ids: this.#ids,
      sizes: this.#sizes,
      values: this.#end === this.#bytes.byteLength ? this.#bytes : this.#bytes.slice(0, this.#end),
      ends: this.#ends,
      durationsUs: this.#durationsUs,
      ranOn: this.#ranOn,
      workers: this.#workers,
    });
  }

  /** Index of a worker, which is added where it is new. */
  #place(worker: string): number {
    const workers = this.#workers;
    const places = this.#places;
    const known = places === null ? workers.indexOf(worker) : (places.get(worker) ?? -1);
    if (known >= 0) return known;
    const place = workers.push(worker) - 1;
    places?.set(worker, place);
    if (workers.length === SEARCHED_MAX) {
      this.#places = new Map(workers.map((name, index) => [name, index]));
    }
    return place;
  }

  #append(value: Uint8Array, start: number, end: number): void {
    const size = end - start;
    const needed = this.#end + size;
    if (this.#isView || needed > this.#bytes.byteLength) {
      this.#isView = false;
      const grown = new Uint8Array(Math.max(needed, this.#bytes.byteLength * 2));
      grown.set(this.#bytes.subarray(0, this.#end));
      this.#bytes = grown;
    }
    if (size > 48) this.#bytes.set(value.subarray(start, end), this.#end);
    else for (let i = 0; i < size; i++) this.#bytes[this.#end + i] = value[start + i] ?? 0;
    this.#end = needed;
  }
}

/** What happened in a simulation: a hash over everything, and the last of it for humans. */

interface Entry {
  atMs: number;
  who: string;
  what: unknown;
}

/** How many of the last happenings are kept. */
const KEPT = 120;

/** Notes everything that goes into and comes out of the cores. */
export class Trace {
  #low = 0x811c9dc5;
  #high = 0x01234567;
  #count = 0;
  readonly #last: Entry[] = [];

  /** How many things were noted. */
  get count(): number {
    return this.#count;
  }

  /** 16 hexadecimal digits. The same seed gives the same. */
  get hash(): string {
    return hex(this.#high) + hex(this.#low);
  }

  /** Notes that something happened to, or was done by, `who`. */
  note(atMs: number, who: string, what: unknown): void {
    const entry = this.#last[this.#count % KEPT];
    if (entry === undefined) this.#last.push({ atMs, who, what });
    else {
      entry.atMs = atMs;
      entry.who = who;
      entry.what = what;
    }
    this.#count += 1;
    this.#number(atMs);
    this.#text(who);
    this.#value(what);
  }

  /** The last happenings as lines, oldest first. */
  lines(count: number): string[] {
    const { length } = this.#last;
    const lines: string[] = [];
    for (let step = Math.max(0, length - count); step < length; step++) {
      const entry = this.#last[length < KEPT ? step : (this.#count + step) % KEPT];
      if (entry === undefined) continue;
      lines.push(`${entry.atMs.toFixed(3).padStart(12)}  ${entry.who}: ${shown(entry.what)}`);
    }
    return lines;
  }

  #value(value: unknown): void {
    switch (typeof value) {
      case 'number':
        this.#number(value);
        return;
      case 'string':
        this.#text(value);
        return;
      case 'boolean':
        this.#mix(value ? 3 : 5);
        return;
      case 'object':
        if (value === null) this.#mix(7);
        else if (value instanceof Uint8Array) this.#bytes(value);
        else if (Array.isArray(value)) {
          this.#mix(value.length);
          for (const item of value) this.#value(item);
        } else for (const field of Object.values(value)) this.#value(field);
        return;
      default:
        this.#mix(11);
    }
  }

  #number(value: number): void {
    this.#mix(value | 0);
    const rest = value - (value | 0);
    if (rest === 0 || !Number.isFinite(value)) return;
    this.#mix((rest * 65_536) | 0);
    this.#mix(Math.floor(value / 2 ** 32) | 0);
  }

  #text(text: string): void {
    for (let at = 0; at < text.length; at++) this.#mix(text.charCodeAt(at));
  }

  #bytes(bytes: Uint8Array): void {
    this.#mix(bytes.byteLength);
    const step = Math.max(1, bytes.byteLength >> 4);
    for (let at = 0; at < bytes.byteLength; at += step) this.#mix(bytes[at] ?? 0);
  }

  #mix(value: number): void {
    this.#low = Math.imul(this.#low ^ value, 16777619);
    this.#high = Math.imul(this.#high + value, 0x85ebca6b) ^ (this.#low >>> 13);
  }
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, '0');
}

function shown(what: unknown): string {
  const text = JSON.stringify(what, (_key, value: unknown) => {
    if (!(value instanceof Uint8Array)) return value;
    return value.byteLength > 24 ? `<${value.byteLength} bytes>` : `<${[...value].join(' ')}>`;
  });
  // A Buffer has turned into its own JSON form before the replacer sees it.
  const short = text.replaceAll(/\{"type":"Buffer","data":\[[^\]]*\]\}/g, '"<bytes>"');
  return short.length > 400 ? `${short.slice(0, 400)}…` : short;
}

import { createRequire } from 'node:module';

/** Of koffi, what is used here: it need not be there, and then its types are not either. */
export interface Koffi {
  load(library: null): { func(name: string, result: string, types: readonly unknown[]): unknown };
  struct(fields: Readonly<Record<string, string>>): unknown;
  pointer(type: unknown): unknown;
  address(bytes: Uint8Array): bigint;
  decode(address: bigint, type: string): unknown;
  errno(): number;
}

let loaded: Koffi | undefined;
let isTried = false;

/**
 * What calls functions of the C library. Undefined where the system is not Linux, or koffi, an optional
 * dependency, is not installed or does not load.
 */
export function loadKoffi(): Koffi | undefined {
  if (!isTried) loaded = load();
  isTried = true;
  return loaded;
}

function load(): Koffi | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    // SAFE: the part of its interface that is used here; what it lacks throws where it is used.
    return createRequire(import.meta.url)('koffi') as Koffi;
  } catch {
    // Whatever it would bring has another way to go.
    return undefined;
  }
}

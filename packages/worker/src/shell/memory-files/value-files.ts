import { openFilePages } from './file-pages.ts';

/**
 * Open at once: each takes a descriptor of the process, which sockets and spill files need, too. Values
 * past that are read and copied.
 */
export const VALUE_FILES_MAX = 512;

/**
 * Files in memory that have the contents of values, by the memory of these: whoever has a value can give
 * others its file. One that nobody has closed is closed when the memory of the value is collected.
 */
const files = new WeakMap<ArrayBufferLike, number>();
const collected = new FinalizationRegistry<number>((file) => close(file));
const open = new Set<number>();

/** Whether one more value may have a file. */
export function mayKeepFile(): boolean {
  return open.size < VALUE_FILES_MAX;
}

/** From here on the value in this memory has a file, unless too many have one: then it is closed. */
export function keepFile(memory: ArrayBufferLike, file: number): void {
  if (!mayKeepFile()) {
    close(file);
    return;
  }
  files.set(memory, file);
  open.add(file);
  collected.register(memory, file, memory);
}

/** The file of the value in this memory. */
export function fileOf(memory: ArrayBufferLike): number | undefined {
  return files.get(memory);
}

/** The value in this memory needs no file any more: its pages stay for as long as the memory. */
export function closeFileOf(memory: ArrayBufferLike): void {
  const file = releaseFileOf(memory);
  if (file !== undefined) close(file);
}

/** As {@link closeFileOf}, but the file stays open: it is the caller's. */
export function releaseFileOf(memory: ArrayBufferLike): number | undefined {
  const file = files.get(memory);
  if (file === undefined) return undefined;
  files.delete(memory);
  collected.unregister(memory);
  open.delete(file);
  return file;
}

/** Whether a descriptor is one of a value's file. */
export function isFileOfValue(file: number): boolean {
  return open.has(file);
}

function close(file: number): void {
  open.delete(file);
  openFilePages()?.close(file);
}

/**
 * Tar archives, in the POSIX format (ustar; what does not fit into its fields is in extended
 * headers): https://pubs.opengroup.org/onlinepubs/9699919799/utilities/pax.html
 */
import type { Stats } from 'node:fs';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

const BLOCK = 512;
const CHUNK_BYTES = 262_144;
/** The largest number that 11 octal digits hold. */
const SIZE_MAX = 0o77777777777;
const ID_MAX = 0o7777777;

/**
 * The bytes of an archive of all that is in a directory. It is well formed whatever happens there
 * meanwhile: a file that grows is taken as long as it was, one that shrinks is filled up with
 * zeros, one that vanishes is left out; so are sockets and devices.
 *
 * @param skip - absolute paths that are left out
 */
export async function* tarOf(
  directory: string,
  skip: (path: string) => boolean,
): AsyncGenerator<Buffer> {
  yield* members(directory, '.', skip);
  yield Buffer.alloc(2 * BLOCK);
}

async function* members(
  path: string,
  name: string,
  skip: (path: string) => boolean,
): AsyncGenerator<Buffer> {
  if (skip(path)) return;
  const stats = await orNothing(lstat(path));
  if (stats === null) return;
  if (stats.isDirectory()) {
    yield* headers(`${name}/`, '5', stats, 0);
    const names = (await orNothing(readdir(path))) ?? [];
    for (const inner of names.toSorted())
      yield* members(join(path, inner), `${name}/${inner}`, skip);
  } else if (stats.isSymbolicLink()) {
    const target = await orNothing(readlink(path));
    if (target !== null) yield* headers(name, '2', stats, 0, target);
  } else if (stats.isFile()) yield* contents(path, name);
}

async function* contents(path: string, name: string): AsyncGenerator<Buffer> {
  const file = await orNothing(open(path, 'r'));
  if (file === null) return;
  try {
    const stats = await file.stat();
    yield* headers(name, '0', stats, stats.size);
    let left = stats.size;
    while (left > 0) {
      const { buffer, bytesRead } = await file.read(
        Buffer.alloc(Math.min(CHUNK_BYTES, left)),
        0,
        Math.min(CHUNK_BYTES, left),
      );
      // Where it has become shorter the rest is zeros.
      const taken = bytesRead === 0 ? buffer.byteLength : bytesRead;
      left -= taken;
      yield buffer.subarray(0, taken);
    }
    const beyond = stats.size % BLOCK;
    if (beyond > 0) yield Buffer.alloc(BLOCK - beyond);
  } finally {
    await file.close();
  }
}

function* headers(
  name: string,
  type: string,
  stats: Stats,
  size: number,
  link: string = '',
): Generator<Buffer> {
  const extended: [string, string][] = [];
  const fits = (text: string): boolean => Buffer.byteLength(text) <= 100 && isAscii(text);
  if (!fits(name)) extended.push(['path', name]);
  if (!fits(link)) extended.push(['linkpath', link]);
  if (size > SIZE_MAX) extended.push(['size', String(size)]);
  if (extended.length > 0) {
    const text = Buffer.from(extended.map(([key, value]) => record(key, value)).join(''));
    yield header('./PaxHeader', 'x', stats, text.byteLength, '');
    yield padded(text);
  }
  yield header(name, type, stats, size, link);
}

function header(name: string, type: string, stats: Stats, size: number, link: string): Buffer {
  const block = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number, max: number): void => {
    const text = Math.min(Math.max(0, Math.floor(value)), max).toString(8);
    block.write(`${text.padStart(length - 1, '0')}\0`, at, 'ascii');
  };
  Buffer.from(name).copy(block, 0, 0, 100);
  octal(stats.mode & 0o7777, 100, 8, ID_MAX);
  octal(stats.uid, 108, 8, ID_MAX);
  octal(stats.gid, 116, 8, ID_MAX);
  octal(size, 124, 12, SIZE_MAX);
  octal(stats.mtimeMs / 1_000, 136, 12, SIZE_MAX);
  block.write('        ', 148, 'ascii');
  block.write(type, 156, 'ascii');
  Buffer.from(link).copy(block, 157, 0, 100);
  block.write('ustar\u000000', 257, 'ascii');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'ascii');
  return block;
}

/** `length key=value`, where the length counts itself. */
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  let length = bytes + 1;
  while (String(length).length + bytes !== length) length = String(length).length + bytes;
  return `${length}${rest}`;
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc((BLOCK - (bytes.byteLength % BLOCK)) % BLOCK)]);
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}

/** Null where it is not there (any more), or may not be read. */
async function orNothing<Value>(wanted: Promise<Value>): Promise<Value | null> {
  try {
    return await wanted;
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    if (code === 'ENOENT' || code === 'EACCES' || code === 'ENOTDIR') return null;
    throw error;
  }
}

/**
 * The program that makes one archive: `archive-main SOURCE TARGET LEVEL`. It yields to everything
 * else on the machine, and ends when the worker does: its standard input is closed then.
 */
import { createWriteStream } from 'node:fs';
import { open, readdir, rename, rm } from 'node:fs/promises';
import { constants, setPriority } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';

import { tarOf } from './tar-writer.ts';

const [, , source = '', target = '', level = '6'] = process.argv;
const prefix = `.${basename(target)}.`;
const suffix = '.tmp';

try {
  setPriority(constants.priority.PRIORITY_LOW);
} catch {
  // It takes its share, then.
}
process.stdin.resume().once('close', () => process.exit(1));

await removeUnfinished();
const temporary = join(dirname(target), `${prefix}${process.pid}${suffix}`);
const isOwn = (path: string): boolean =>
  path === target || (dirname(path) === dirname(target) && isUnfinished(basename(path)));
await pipeline(
  Readable.from(tarOf(source, isOwn)),
  createGzip({ level: Number(level) }),
  // Flushed to the disk before it is closed: what has the right name is whole.
  createWriteStream(temporary, { flush: true }),
);
await rename(temporary, target);
const directory = await open(dirname(target), 'r');
await directory.sync();
await directory.close();
process.exit(0);

/** Removes what an archiver left that was killed: there is one for a target at a time. */
async function removeUnfinished(): Promise<void> {
  for (const name of await readdir(dirname(target))) {
    if (isUnfinished(name)) await rm(join(dirname(target), name), { force: true });
  }
}

function isUnfinished(name: string): boolean {
  return name.startsWith(prefix) && /^\d+\.tmp$/.test(name.slice(prefix.length));
}

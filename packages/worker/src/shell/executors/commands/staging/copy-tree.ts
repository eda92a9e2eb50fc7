import { chmod, lstat, mkdir, open, readdir, readlink, symlink } from 'node:fs/promises';
import { join } from 'node:path';

const CHUNK_BYTES = 1_048_576;

/** Options of {@link copyTree}. */
export interface CopyOptions {
  /** Stops the copy between two chunks. */
  readonly signal: AbortSignal;
  /** Whether each file is on the disk before the copy is over. */
  readonly isSynced: boolean;
}

/**
 * Copies a file, a symbolic link or a directory with all that is in it to a path that does not
 * exist. Modes are kept, links stay what they are.
 *
 * @throws what the system says; an Error for what is neither file, link nor directory
 */
export async function copyTree(from: string, to: string, options: CopyOptions): Promise<void> {
  options.signal.throwIfAborted();
  const info = await lstat(from);
  if (info.isSymbolicLink()) {
    await symlink(await readlink(from), to);
  } else if (info.isDirectory()) {
    await mkdir(to, { mode: 0o700 });
    for (const name of await readdir(from))
      await copyTree(join(from, name), join(to, name), options);
    await chmod(to, info.mode & 0o7777);
  } else if (info.isFile()) {
    await copyFile(from, to, info.mode & 0o7777, options);
  } else {
    throw new Error(`${from} is neither a file, a symbolic link nor a directory`);
  }
}

async function copyFile(
  from: string,
  to: string,
  mode: number,
  { signal, isSynced }: CopyOptions,
): Promise<void> {
  await using source = await open(from, 'r');
  await using target = await open(to, 'wx', 0o600);
  const { size } = await source.stat();
  const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, Math.max(size, 4_096)));
  for (;;) {
    signal.throwIfAborted();
    const { bytesRead } = await source.read(buffer, 0, buffer.byteLength);
    if (bytesRead === 0) break;
    for (let at = 0; at < bytesRead;) {
      at += (await target.write(buffer, at, bytesRead - at)).bytesWritten;
    }
  }
  await target.chmod(mode);
  if (isSynced) await target.sync();
}

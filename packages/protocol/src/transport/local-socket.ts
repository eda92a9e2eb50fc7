import { closeSync, constants, fstatSync, openSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';

const SOCKET = 'data.sock';

/** A directory that is open, and with it the way to the socket in it. */
export interface LocalDoor {
  /** Where to listen or connect. However long the directory's path is, this is a short one. */
  readonly path: string;
  /** Gives the directory back. */
  close(): void;
}

/**
 * Opens a directory for a socket in it. What is looked at and what is used afterwards is the same
 * directory, whatever happens to its name meanwhile.
 *
 * @returns Undefined where it is not there, or not this user's alone, or the system is not Linux:
 * nobody else can have put a socket there or connect to it.
 */
export function localDoor(directory: string): LocalDoor | undefined {
  if (process.platform !== 'linux') return undefined;
  let fd: number | undefined;
  try {
    fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    const { uid, mode } = fstatSync(fd);
    if (uid === process.getuid?.() && (mode & 0o077) === 0) return doorOf(fd);
  } catch {
    // Another host's, or another container's.
  }
  if (fd !== undefined) closeSync(fd);
  return undefined;
}

function doorOf(fd: number): LocalDoor {
  let isOpen = true;
  return {
    path: `/proc/self/fd/${fd}/${SOCKET}`,
    close: () => {
      if (isOpen) closeSync(fd);
      isOpen = false;
    },
  };
}

/** A server on a socket in a private directory. */
export interface LocalListener {
  /** Ends it; connections stay. */
  close(): Promise<void>;
}

/**
 * Listens on a socket in a directory that is this user's alone.
 *
 * @returns Undefined where that cannot be done: there is no need for it.
 */
export async function listenLocally(
  directory: string,
  onSocket: (socket: Socket) => void,
): Promise<LocalListener | undefined> {
  const door = localDoor(directory);
  if (door === undefined) return undefined;
  const server = createServer(onSocket);
  try {
    rmSync(door.path, { force: true });
    await listening(server, door.path);
  } catch {
    door.close();
    return undefined;
  }
  server.on('error', () => {});
  return {
    close: async () => {
      // Its file goes with it, by the path that the door keeps open.
      await new Promise<void>((closed) => server.close(() => closed()));
      door.close();
    },
  };
}

function listening(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path }, resolve);
  });
}

import { readdirSync, readFileSync } from 'node:fs';

/** Where the kernel is asked about this machine; tests pass their own. */
export interface HostFiles {
  /** Names in a directory; none where it cannot be read. */
  readonly list: (directory: string) => readonly string[];
  /** The text of a file, empty where it cannot be read. */
  readonly read: (path: string) => string;
}

/** The files of this machine. */
export const HOST_FILES: HostFiles = {
  list: (directory) => {
    try {
      return readdirSync(directory);
    } catch {
      return [];
    }
  },
  read: (path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return '';
    }
  },
};

import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';

/** How the kernel's files are reached, or what a test makes of them. Directories are absolute. */
export interface CgroupFiles {
  /** Undefined where it is not there or not readable. */
  readonly readText: (path: string) => string | undefined;
  /** @throws the system's error */
  readonly writeText: (path: string, text: string) => void;
  /** @throws the system's error */
  readonly makeDirectory: (path: string) => void;
  /** @throws the system's error, EBUSY where processes are in it */
  readonly removeDirectory: (path: string) => void;
  /** Names in a directory; none where it cannot be read. */
  readonly list: (path: string) => readonly string[];
}

/** Those of this machine. */
export const CGROUP_FILES: CgroupFiles = {
  readText: (path) => {
    try {
      return readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
  },
  writeText: (path, text) => writeFileSync(path, text, { flag: 'r+' }),
  makeDirectory: (path) => mkdirSync(path),
  removeDirectory: (path) => rmdirSync(path),
  list: (path) => {
    try {
      return readdirSync(path);
    } catch {
      return [];
    }
  },
};

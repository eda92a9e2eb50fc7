import { readFileSync, statSync } from 'node:fs';

/** Where processes are looked up; tests pass their own. */
export interface IdentitySource {
  /** The text of a file below `/proc`; undefined where it is gone or not readable. */
  readonly readText: (path: string) => string | undefined;
  /** Names the set of process ids this process sees; 0 where the kernel has but one. */
  readonly namespace: () => number;
  /**
   * In a container, names the kernel from its start to its end: containers of several hosts may have
   * one host name. Empty elsewhere, and where the kernel does not tell.
   */
  readonly kernel: () => string;
  /** Whether a process of this id exists. */
  readonly exists: (pid: number) => boolean;
}

/** Linux gives the set of process ids that no container has this number. */
const HOST_NAMESPACE = 4_026_531_836;

const KERNEL: IdentitySource = {
  readText: (path) => {
    try {
      return readFileSync(`/proc/${path}`, 'latin1');
    } catch {
      return undefined;
    }
  },
  namespace: () => {
    try {
      return statSync('/proc/self/ns/pid').ino;
    } catch {
      return 0;
    }
  },
  kernel: () => {
    try {
      if (statSync('/proc/self/ns/pid').ino === HOST_NAMESPACE) return '';
      return readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').slice(0, 8);
    } catch {
      return '';
    }
  },
  exists: (pid) => {
    try {
      process.kill(pid, 0);
      return true;
    } catch (error) {
      // One of another user does.
      return error instanceof Error && 'code' in error && error.code === 'EPERM';
    }
  },
};

/** An identity as text: process id, time of its start, the container that counts so, its kernel. */
const IDENTITY_PATTERN = /^(\d+)\.(\d+)\.(\d+)\.([\da-f]*)$/;

/**
 * Names a process for good: its id may be given to another process later, and to one of another
 * container or host at the same time.
 */
export function identityOf(pid: number, source: IdentitySource = KERNEL): string {
  return `${pid}.${startTicks(pid, source) ?? 0}.${source.namespace()}.${source.kernel()}`;
}

/** Whether the process of an identity has ended; false also where that cannot be known. */
export function hasEnded(identity: string, source: IdentitySource = KERNEL): boolean {
  const match = IDENTITY_PATTERN.exec(identity);
  const [pid, ticks, namespace] = (match ?? []).slice(1, 4).map(Number);
  if (pid === undefined || namespace !== source.namespace()) return false;
  if (match?.[4] !== source.kernel()) return false;
  if (!source.exists(pid)) return true;
  const now = startTicks(pid, source);
  return ticks !== 0 && now !== undefined && now !== ticks;
}

/** When a process began, in ticks since the start of the machine. */
function startTicks(pid: number, source: IdentitySource): number | undefined {
  const text = source.readText(`${pid}/stat`);
  // The name of the program, in brackets, may hold anything.
  const field = text?.slice(text.lastIndexOf(')') + 2).split(' ')[19];
  return field === undefined ? undefined : Number(field);
}

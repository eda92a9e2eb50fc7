import { readdirSync, readFileSync } from 'node:fs';

/** One process, as the kernel shows it. */
export interface ProcessEntry {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  /** When it was started: with the pid it names a process for good. */
  readonly startTicks: string;
  readonly rssBytes: number;
  /** Processor time it has used, and the children it has waited for. */
  readonly cpuTicks: number;
}

/** Where processes are read: `/proc`, or what a test makes of it. */
export interface ProcessSource {
  readonly list: () => readonly string[];
  /** The text of a file below `/proc`; undefined where it is gone or not readable. */
  readonly readText: (path: string) => string | undefined;
}

/** What the kernel counts memory in; the same on all 64-bit systems Node supports but a few. */
const PAGE_BYTES = 4_096;

const PROC: ProcessSource = {
  list: () => {
    try {
      return readdirSync('/proc');
    } catch {
      return [];
    }
  },
  readText: (path) => {
    try {
      return readFileSync(`/proc/${path}`, 'latin1');
    } catch {
      return undefined;
    }
  },
};

/** All processes of this machine (of this container); none where there is no `/proc`. */
export function readProcesses(source: ProcessSource = PROC): readonly ProcessEntry[] {
  return source.list().flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    const text = source.readText(`${name}/stat`);
    const entry = text === undefined ? undefined : parseStat(text);
    return entry ?? [];
  });
}

/** What a process was started with: `NAME=value`, each. */
export function readEnvironment(pid: number, source: ProcessSource = PROC): readonly string[] {
  return (source.readText(`${pid}/environ`) ?? '').split('\0');
}

/** The name of a program may hold anything, so what counts begins behind the last bracket. */
function parseStat(text: string): ProcessEntry | undefined {
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  const at = (field: number): number => Number(fields[field - 3]);
  const pid = Number.parseInt(text, 10);
  const startTicks = fields[22 - 3];
  if (!Number.isInteger(pid) || startTicks === undefined || fields[0] === 'Z') return undefined;
  return {
    pid,
    parent: at(4),
    group: at(5),
    startTicks,
    rssBytes: at(24) * PAGE_BYTES,
    cpuTicks: at(14) + at(15) + at(16) + at(17),
  };
}

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';

interface Stat {
  readonly parent: number;
  /** User and system time of the process and of children that have ended, in clock ticks. */
  readonly ticks: number;
}

let tickMs: number | undefined;

/**
 * Milliseconds of CPU time, user and system, that a process and everything below it have taken so
 * far, children that have ended included (Linux: `/proc/PID/stat`). What else runs on the machine
 * shows much less in it than in what a clock says.
 */
export function treeCpuMs(root: number = process.pid): number {
  tickMs ??= 1000 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));
  const stats = new Map<number, Stat>();
  for (const entry of readdirSync('/proc')) {
    const pid = Number(entry);
    const stat = Number.isInteger(pid) ? readStat(pid) : undefined;
    if (stat !== undefined) stats.set(pid, stat);
  }
  let ticks = 0;
  for (const [pid, stat] of stats) if (isBelow(stats, pid, root)) ticks += stat.ticks;
  return ticks * tickMs;
}

function isBelow(stats: ReadonlyMap<number, Stat>, pid: number, root: number): boolean {
  for (let at: number | undefined = pid; at !== undefined; at = stats.get(at)?.parent) {
    if (at === root) return true;
  }
  return false;
}

function readStat(pid: number): Stat | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name, in parentheses, may have anything in it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return {
      parent: Number(fields[1]),
      ticks: fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0),
    };
  } catch {
    return undefined; // has ended meanwhile
  }
}

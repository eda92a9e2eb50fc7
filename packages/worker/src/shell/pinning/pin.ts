import { execFileSync } from 'node:child_process';
import { readlinkSync } from 'node:fs';

/** A program and its arguments, on these CPUs; as they are where none are given. */
export function pinnedCommand(
  cpus: string | undefined,
  file: string,
  args: readonly string[],
): readonly [file: string, args: readonly string[]] {
  return cpus === undefined ? [file, args] : ['taskset', ['--cpu-list', cpus, file, ...args]];
}

/**
 * Binds the thread that calls this, and what it starts, to these CPUs. Node cannot; `taskset` can,
 * for a thread by its number, which the kernel tells the thread that asks.
 *
 * @throws what execFileSync throws where that fails
 */
export function pinThisThread(cpus: string): void {
  const thread = readlinkSync('/proc/thread-self').split('/').at(-1) ?? '';
  execFileSync('taskset', ['--cpu-list', '--pid', cpus, thread], { stdio: 'pipe' });
}

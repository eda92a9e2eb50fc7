/** How a nanny knows that the main thread of its worker is not stuck for good. */
import type { ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';

/** The default of {@link LifeWatch.frozenMs}: far longer than any load or slow disk takes. */
export const FROZEN_MS = 300_000;
/** Signs are given and missed so many times in that time. */
const LOOKS = 60;

const SIGN = { farm: 'alive' } as const;

/** Has this process give its nanny a sign of life now and then, if it has one. */
export function giveLifeSigns(): void {
  let isOnItsWay = false;
  const give = (): void => {
    // A nanny that stands still does not take them.
    if (isOnItsWay || !process.connected) return;
    isOnItsWay = true;
    process.send?.(SIGN, undefined, {}, () => {
      isOnItsWay = false;
    });
  };
  give();
  setInterval(give, FROZEN_MS / LOOKS).unref();
}

/** What a nanny watches. */
export interface LifeWatch {
  /** A worker that has given signs and gives none for so long is frozen. */
  readonly frozenMs: number;
  readonly onFrozen: () => void;
  /** @default its state in `/proc` */
  readonly isStopped?: (pid: number) => boolean;
}

/**
 * Watches for signs of life. Time counts only while both processes could run: not while this one
 * stands still, nor while the worker is stopped, as by SIGSTOP or a debugger. Returns what ends it.
 */
export function watchLife(child: ChildProcess, watch: LifeWatch): () => void {
  const { frozenMs, onFrozen, isStopped = isProcessStopped } = watch;
  let missed: number | null = null;
  const hear = (message: unknown): void => {
    if (typeof message !== 'object' || message === null || !('farm' in message)) return;
    if (message.farm === SIGN.farm) missed = 0;
  };
  const look = (): void => {
    if (missed === null) return;
    missed = isStopped(child.pid ?? 0) ? 0 : missed + 1;
    if (missed < LOOKS) return;
    missed = null;
    onFrozen();
  };
  child.on('message', hear);
  const timer = setInterval(look, frozenMs / LOOKS);
  return () => {
    clearInterval(timer);
    child.off('message', hear);
  };
}

/** Whether a process is stopped or traced; false where the kernel does not tell. */
function isProcessStopped(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return /^[Tt]/.test(stat.slice(stat.lastIndexOf(')') + 2));
  } catch {
    return false;
  }
}
